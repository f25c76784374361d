"""Traces that a real operator sends to a collector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from devcluster.ports import free_port
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NO_BACKOFF, NewSandbox, Sandbox
from tests.support.otlp_receiver import OtlpReceiver, otlp_receiver, values
from tests.support.setup_handle import Setup

SECRET = "dG9wOnNlY3JldC1vZi1jb2xsZWN0b3I="
FAST = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(new_sandbox: NewSandbox, receiver: OtlpReceiver) -> Iterator[Sandbox]:
    """An operator that sends traces."""
    headers = f"authorization=Basic%20{SECRET},x-scope-orgid=platform"
    environment = {
        **FAST,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_HEADERS": headers,
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }
    with new_sandbox(environment=environment) as sandbox:
        sandbox.operator.start()
        yield sandbox


def lines(sandbox: Sandbox, part: str) -> list[dict[str, Any]]:
    """The lines of the operator's log whose event contains `part`."""
    written = [json.loads(line) for line in sandbox.operator.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in written if part in line["event"]]


def test_a_series_is_one_trace_of_attempts_and_steps(traced: Sandbox, receiver: OtlpReceiver, tmp_path: Path) -> None:
    note = 'echo "$TRACEPARENT" >>"$PARAM_PLACE/parents"'
    setup = Setup.make(
        traced,
        "scripts",
        first=note,
        second=f"{note}; [ -e $PARAM_PLACE/again ] || {{ touch $PARAM_PLACE/again; exit 42; }}",
        third=note,
        place=str(tmp_path),
        annotations=NO_BACKOFF,
    )
    assert setup.ended()[0] == "SetupSucceeded"
    root, spans = receiver.series_of(setup.name)
    about = {"namespace": setup.api.namespace, "project": setup.name, "recipe": "scripts", "engine": "local"}
    first, second = (next(s for s in spans if s.name == name) for name in ("attempt 1", "attempt 2"))

    assert values(root.attributes) == about | {"attempt": 2, "outcome": "Succeeded", "reason": "SetupSucceeded"}
    assert (root.name, root.status.code) == ("setup", Status.STATUS_CODE_UNSET)
    failed = {"outcome": "Failed", "reason": "StepTransient", "exit_code": 42}
    found = values(first.attributes)
    assert found.pop("run").startswith(f"setup-{setup.name}-1-")
    assert found == about | failed | {"attempt": 1, "step": "second"}
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert first.status.message.startswith("step second failed with exit code 42")
    assert second.status.code == Status.STATUS_CODE_UNSET
    assert {first.parent_span_id, second.parent_span_id} == {root.span_id}
    assert root.start_time_unix_nano <= first.start_time_unix_nano < first.end_time_unix_nano
    assert first.end_time_unix_nano <= second.start_time_unix_nano < second.end_time_unix_nano
    assert second.end_time_unix_nano == root.end_time_unix_nano

    for attempt, names in ((first, ["first", "second"]), (second, ["first", "second", "third"])):
        steps = [span for span in spans if span.parent_span_id == attempt.span_id]
        assert [step.name for step in steps] == names
        times = [time for step in steps for time in (step.start_time_unix_nano, step.end_time_unix_nano)]
        assert times == sorted(times)
        assert attempt.start_time_unix_nano <= times[0]
        assert times[-1] <= attempt.end_time_unix_nano
        number = 1 if attempt is first else 2
        last = failed if attempt is first else {"outcome": "Succeeded", "reason": "SetupSucceeded"}
        assert values(steps[-1].attributes) == about | last | {"attempt": number, "step": names[-1]}
        assert values(steps[0].attributes) == about | {"attempt": number, "step": "first", "outcome": "Succeeded"}
    broken = [span for span in spans if span.status.code == Status.STATUS_CODE_ERROR]
    assert [span.name for span in broken] == ["attempt 1", "second"]

    step_spans = [span for span in spans if span.parent_span_id in {first.span_id, second.span_id}]
    expected = [f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01" for span in step_spans]
    assert (tmp_path / "parents").read_text().split() == expected

    assert receiver.headers[-1]["authorization"] == f"Basic {SECRET}"
    assert receiver.resources[-1]["service.name"] == "projectsetup-operator"
    assert receiver.resources[-1]["deployment.environment"] == "test"


def test_a_retry_is_another_trace_and_a_restarted_operator_continues_it(
    traced: Sandbox, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    script = "[ -e begins ] || exit 1; mv begins goes-on || exit 1; sleep 300"
    script = f'cd "$PARAM_PLACE"; [ ! -e goes-on ] || exit 0; {script}'
    setup = Setup.make(traced, "scripts", first=script, place=str(tmp_path), annotations=NO_BACKOFF)
    assert setup.ended()[0] == "StepFailed"
    failed, _ = receiver.series_of(setup.name)
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert values(failed.attributes)["outcome"] == "Failed"
    (tmp_path / "begins").touch()
    setup.annotate(retry_requested_at="1")
    wait_for((tmp_path / "goes-on").exists, "the step of the second series")
    traced.operator.kill()
    traced.operator.start()
    assert setup.ended_after_retry("1")[0] == "SetupSucceeded"
    wait_for(lambda: len([s for s in receiver.of(setup.name) if not s.parent_span_id]) == 2, "the second trace")
    root, spans = receiver.series_of(setup.name)
    assert root.trace_id != failed.trace_id
    attempts = [span for span in spans if span.name.startswith("attempt ")]
    assert [values(span.attributes)["reason"] for span in attempts] == ["Interrupted", "SetupSucceeded"]
    assert len({span.span_id for span in receiver.of(setup.name)}) == len(receiver.of(setup.name))


def test_a_setup_that_is_deleted_or_cancelled_ends_its_trace(
    traced: Sandbox, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    deleted, cancelled = (
        Setup.make(traced, "scripts", first=f"touch {tmp_path}/started; sleep 300", annotations=annotations)
        for annotations in (None, {"cancel_requested_at": "1"})
    )
    assert cancelled.ended()[0] == "Cancelled"
    wait_for((tmp_path / "started").exists, "the step to run")
    deleted.delete()
    root, spans = receiver.series_of(deleted.name)
    assert sorted(span.name for span in spans) == ["attempt 1", "first", "setup"]
    assert {values(span.attributes)["outcome"] for span in spans} == {"Cancelled"}
    assert {span.status.code for span in spans} == {Status.STATUS_CODE_UNSET}
    root, _ = receiver.series_of(cancelled.name)
    assert values(root.attributes)["reason"] == "Cancelled"


def test_what_cannot_be_sent_disturbs_nothing_and_is_reported_once(new_sandbox: NewSandbox) -> None:
    environment = {
        **FAST,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Basic%20{SECRET}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
    }
    with otlp_receiver() as receiver, new_sandbox(environment=environment) as sandbox:
        sandbox.operator.start()
        assert Setup.make(sandbox, "scripts").ended()[0] == "SetupSucceeded"
        wait_for(lambda: lines(sandbox, "cannot send traces"), "the warning")
        assert sandbox.operator.terminate() == 0
        (warning,) = lines(sandbox, "cannot send traces")
        assert "Connection refused" in warning["error"]

        receiver.status = 401
        sandbox.operator.configure(environment={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
        sandbox.operator.start()
        for _ in range(3):
            before = receiver.requests
            assert Setup.make(sandbox, "scripts").ended()[0] == "SetupSucceeded"
            wait_for(partial(receiver.was_asked_after, before), "the spans of this setup")
        wait_for(lambda: len(lines(sandbox, "cannot send traces")) > 1, "the second warning")
        _, warning = lines(sandbox, "cannot send traces")
        assert "401" in warning["error"]
        assert not [line for line in lines(sandbox, "") if line["logger"].startswith("opentelemetry")]

        receiver.status = 200
        last = Setup.make(sandbox, "scripts")
        last.ended()
        receiver.series_of(last.name)
        wait_for(lambda: lines(sandbox, "traces are sent again"), "the operator to report that traces are sent")
        assert SECRET not in "".join(sandbox.published_texts().values())


def test_an_operator_that_ends_sends_what_is_left(traced: Sandbox, receiver: OtlpReceiver) -> None:
    traced.operator.terminate()
    traced.operator.configure(environment={"OTEL_BSP_SCHEDULE_DELAY": "600000"})
    traced.operator.start()
    setup = Setup.make(traced, "scripts")
    setup.ended()
    assert receiver.of(setup.name) == []
    assert traced.operator.terminate() == 0
    assert [span.name for span in receiver.of(setup.name)] == ["attempt 1", "first", "second", "third", "setup"]
    traced.operator.configure(environment=FAST)
    traced.operator.start()


def test_without_an_endpoint_steps_have_no_traceparent(sandbox: Sandbox, tmp_path: Path) -> None:
    setup = Setup.make(sandbox, "scripts", first='env >"$PARAM_PLACE/env"', place=str(tmp_path))
    setup.ended()
    assert "TRACEPARENT" not in (tmp_path / "env").read_text()

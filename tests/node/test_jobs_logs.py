"""The output of Jobs on a real node reaches the database, all of it and each line once; their steps are traced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from devcluster import Cluster
from tests.support.chaos.fault_run import FaultSetup
from tests.support.chaos.process_watcher import PodWatcher
from tests.support.node.job_fault_run import JobFaultRun, job_fault_run
from tests.support.operator_process import wait_for
from tests.support.otlp_receiver import otlp_receiver
from tests.support.stored_log import stored_log

KILLS: Final = 5
BEGIN: Final = [("begin", f"begin {number}") for number in range(1, 1001)]
FINISH: Final = [("finish", f"finish {number}") for number in range(1, 1001)]


@pytest.fixture(scope="module")
def run(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobFaultRun]:
    folder = tmp_path_factory.mktemp("run")
    with PodWatcher() as watcher, job_fault_run(node_cluster, folder, watcher) as run:
        yield run


def lines(run: JobFaultRun, setup: FaultSetup) -> list[tuple[str, str]]:
    """Step and text of each line that is stored."""
    rows = stored_log(run.sandbox.database_url, setup.name)
    return [(step, line) for step, text in rows for line in text.splitlines()]


def await_more(run: JobFaultRun, setup: FaultSetup) -> None:
    before = len(lines(run, setup))
    wait_for(lambda: len(lines(run, setup)) > before, "more lines in the log")


def test_the_log_is_complete_and_has_no_line_twice_after_five_kills_of_the_operator(run: JobFaultRun) -> None:
    operator = run.operator().start()
    setup = run.submit("gated", recipe="counting")
    for _ in range(KILLS):
        await_more(run, setup)
        operator.kill()
        operator.start()
    await_more(run, setup)
    operator.kill()
    run.step_server.open(setup.name)
    run.await_job_end(setup)
    operator.start()
    assert setup.reached("Succeeded", "Failed")["phase"] == "Succeeded"
    wait_for(lambda: lines(run, setup)[-1:] == FINISH[-1:], "the end of the log")
    found = lines(run, setup)
    counted = int(found[-len(FINISH) - 1][1].removeprefix("counted "))
    counts = [("count", f"count {number}") for number in range(1, counted + 1)]
    assert found == [*BEGIN, *counts, ("count", f"counted {counted}"), *FINISH]
    assert operator.terminate() == 0


def test_what_a_cancelled_step_prints_while_it_ends_is_kept(run: JobFaultRun) -> None:
    operator = run.operator().start()
    setup = run.submit("gated", recipe="counting")
    wait_for(lambda: "count" in dict(lines(run, setup)), "a line of the step that is to be cancelled")
    run.cancel(setup)
    setup.reached("Cancelled")
    wait_for(lambda: lines(run, setup)[-1][1].startswith("stopping at "), "the end of the log")
    *before, last = lines(run, setup)
    counted = int(last[1].removeprefix("stopping at "))
    assert [line for line in before if line[1].startswith("[projectsetup]")] == []
    assert len(before) - len(BEGIN) in range(counted - 10, counted + 11)
    assert operator.terminate() == 0


def test_steps_in_pods_know_their_place_in_the_trace(run: JobFaultRun) -> None:
    with otlp_receiver() as receiver:
        environment = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        operator = run.operator(environment=environment).start()
        setup = run.submit("quick", recipe="traced")
        assert setup.reached("Succeeded", "Failed")["phase"] == "Succeeded"
        root, spans = receiver.series_of(setup.name)
        (attempt,) = (span for span in spans if span.parent_span_id == root.span_id)
        steps = [span for span in spans if span.parent_span_id == attempt.span_id]
        parents = [(step.name, f"00-{step.trace_id.hex()}-{step.span_id.hex()}-01") for step in steps]
        assert [name for name, _ in parents] == ["first", "second"]
        wait_for(lambda: len(lines(run, setup)) >= len(parents), "the end of the log")
        assert lines(run, setup) == parents
        assert operator.terminate() == 0

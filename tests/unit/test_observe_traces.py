"""Ids of traces, and when spans are sent; a real collector is in tests/integration/test_operator_traces.py."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from projectsetup.observe.spans import TraceIds
from projectsetup.observe.traces import header_secrets, open_exporter

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
IDS = TraceIds("uid-1", NOON)
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def test_every_series_attempt_and_step_has_its_own_ids() -> None:
    other = [TraceIds("uid-2", NOON), TraceIds("uid-1", NOON + timedelta(seconds=1))]
    assert len({ids.trace for ids in (IDS, *other)}) == 3
    spans = [IDS.root, IDS.attempt("run-1"), IDS.attempt("run-2"), IDS.step("run-1", "a"), IDS.step("run-1", "b")]
    assert len({*spans}) == len(spans)
    assert 0 < IDS.trace < 2**128
    assert all(0 < span < 2**64 for span in spans)


def test_the_ids_are_the_same_for_the_time_as_status_keeps_it() -> None:
    exact = TraceIds("uid-1", NOON + timedelta(microseconds=999_999))
    assert (exact.trace, exact.root) == (IDS.trace, IDS.root)


def test_traceparent_names_the_span_of_the_step() -> None:
    parent = IDS.traceparent("run-1", "push")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent)
    _, trace, span, _ = parent.split("-")
    assert (int(trace, 16), int(span, 16)) == (IDS.trace, IDS.step("run-1", "push"))


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "x"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_traces_are_off(environment: dict[str, str]) -> None:
    assert open_exporter(environment, version="1", scrub=str) is None


def test_without_an_endpoint_opentelemetry_is_not_imported() -> None:
    code = (
        "import sys, projectsetup.bootstrap as b;"
        "b.open_exporter({}, version='1', scrub=str);"
        "sys.exit(any(name.partition('.')[0] == 'opentelemetry' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_a_warning_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "projectsetup.observe.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with capture_logs() as logs:
        assert open_exporter(ENDPOINT, version="1", scrub=str) is None
    (line,) = logs
    assert line["event"] == "OpenTelemetry is not installed: no traces are sent; install projectsetup[otel]"


@pytest.mark.parametrize(
    ("variables", "warning"),
    [
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "a variable OTEL_… is invalid: no traces are sent"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is not supported; sending as http/protobuf",
        ),
    ],
)
def test_mistakes_are_named(variables: dict[str, str], warning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as logs:
        exporter = open_exporter({**ENDPOINT, **variables}, version="1", scrub=str)
    if exporter is not None:
        exporter.close()
    warnings: list[dict[str, Any]] = [dict(line) for line in logs if line["log_level"] == "warning"]
    assert [line["event"] for line in warnings] == [warning]


def test_values_of_headers_are_secrets_in_each_form() -> None:
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20abc123, x-key=k%3D1"}
    assert {"Basic%20abc123", "Basic abc123", "abc123", "k=1"} <= {*header_secrets(environment)}

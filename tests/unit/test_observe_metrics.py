"""Every metric is documented with its type and labels, and what is looked up at a scrape is looked up then."""

from __future__ import annotations

from dataclasses import replace

from projectsetup.bootstrap import new_metrics
from projectsetup.observe.metrics import Metrics, Moment
from projectsetup.observe.watch_age import WatchAge
from tests.support.exposition import Exposition, documented

QUIET = Moment(
    leading=False,
    queue=dict.fromkeys(range(10), 0),
    limited={"namespace": 0, "recipe": 0},
    oldest_wait=0.0,
    awaiting_dependency=0,
    intake_pending=0,
    intake_oldest=0.0,
    running=0,
    slots_taken=0,
    slots=4,
    paused=False,
)


def exposed(metrics: Metrics) -> Exposition:
    return Exposition(metrics.render().decode())


def test_all_metrics_are_documented() -> None:
    metrics = new_metrics()
    metrics.show(lambda: QUIET)
    metrics.watch("jobs", WatchAge().silence)
    metrics.attempt_took("recipe", "Succeeded", 1.0)
    metrics.step_took("recipe", "step", 1.0)
    metrics.api_written("events", "create", "ok")
    metrics.database_protected("verified")
    assert exposed(metrics).families == documented()


def test_counters_start_at_zero_for_every_outcome() -> None:
    first = new_metrics().render().decode()
    for series in (
        'setups_ended_total{outcome="Failed",reason="AttemptsExhausted"}',
        'attempts_ended_total{outcome="Failed",reason="StepTransient"}',
        'cancel_requests_total{result="accepted"}',
        'database_errors_total{kind="unreachable"}',
        "retries_total",
    ):
        assert f"projectsetup_{series} 0.0" in first.splitlines()


def test_gauges_are_computed_at_each_scrape() -> None:
    metrics, now = Metrics(), 0.0
    moment = QUIET
    watch = WatchAge(lambda: now)
    metrics.show(lambda: moment)
    metrics.watch("pods", watch.silence)
    assert exposed(metrics).value("projectsetup_queue_depth") == 0
    moment, now = replace(QUIET, queue={**QUIET.queue, 3: 5}, running=2, leading=True, paused=True), 7.0
    found = exposed(metrics)
    assert found.value("projectsetup_queue_depth", priority="3") == 5
    assert found.value("projectsetup_running") == 2
    assert found.value("projectsetup_leading") == 1
    assert found.value("projectsetup_queue_paused") == 1
    assert found.value("projectsetup_watch_age_seconds", resource="pods") == 7
    metrics.attempt_started(-5.0)  # the clock was set back
    assert "projectsetup_queue_wait_seconds_sum 0.0" in metrics.render().decode()
    watch.delivered(1)
    assert exposed(metrics).value("projectsetup_watch_age_seconds", resource="pods") == 0

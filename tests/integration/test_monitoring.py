"""A real Prometheus scrapes two real operators: every metric moves, every query and alert can be evaluated."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import pytest

from monitoring.panels import ROWS, Figure
from monitoring.picture import substitute_variables
from monitoring.prometheus import Prometheus, running
from tests.support.exposition import Exposition, documented
from tests.support.manifests import MANIFESTS, plain_rules, read
from tests.support.operator_process import OperatorProcess, wait_for
from tests.support.operator_sandbox import RECIPES, NewSandbox, Sandbox
from tests.support.setup_handle import Setup, Steps
from tests.support.tcp_proxy import TcpProxy, proxied_api_server, through

NEVER_LESS: Final = {"counter": "sum(max_over_time({}[1h])) > 0", "histogram": "sum(max_over_time({}_count[1h])) > 0"}
CONSTANT: Final = dict.fromkeys(
    ("projectsetup_build_info", "projectsetup_database_connection"), "max(max_over_time({}[1h])) > 0"
)
"""Metrics whose value never changes."""
UP_AND_DOWN: Final = "max(max_over_time({0}[1h]) - min_over_time({0}[1h])) > 0"
QUERIES: Final = {
    f"{row.title}: {panel.title}: {query.legend or panel.title}": query.expression
    for row in ROWS
    for panel in row.panels
    for query in ((panel.query,) if isinstance(panel, Figure) else panel.queries)
}
COUNTED: Final[Sequence[tuple[str, dict[str, str], float]]] = (
    ("setups_ended_total", {"outcome": "Succeeded", "reason": "SetupSucceeded"}, 6),
    ("setups_ended_total", {"outcome": "Cancelled", "reason": "Cancelled"}, 1),
    ("setups_ended_total", {"outcome": "Failed", "reason": "StepFailed"}, 1),
    ("setups_ended_total", {"outcome": "Failed", "reason": "AttemptsExhausted"}, 1),
    ("setups_ended_total", {}, 9),
    ("attempts_started_total", {}, 9),
    ("attempts_ended_total", {"outcome": "Succeeded"}, 6),
    ("attempts_ended_total", {"outcome": "Failed", "reason": "StepTransient"}, 2),
    ("attempts_ended_total", {"outcome": "Failed", "reason": "StepFailed"}, 1),
    ("attempts_ended_total", {}, 9),
    ("retries_total", {}, 1),
    ("retry_requests_total", {"result": "accepted"}, 1),
    ("retry_requests_total", {"result": "coalesced"}, 1),
    ("retry_requests_total", {"result": "ignored"}, 1),
    ("cancel_requests_total", {"result": "accepted"}, 1),
    ("cancel_requests_total", {"result": "ignored"}, 1),
    ("queue_wait_seconds", {}, 9),
    ("attempt_duration_seconds", {"recipe": "gated", "outcome": "Succeeded"}, 3),
    ("attempt_duration_seconds", {"recipe": "scripts", "outcome": "Failed"}, 3),
    ("step_duration_seconds", {"recipe": "scripts", "step": "first"}, 5),
    ("step_duration_seconds", {"recipe": "scripts", "step": "third"}, 3),
    ("step_duration_seconds", {"recipe": "gated", "step": "wait"}, 3),
)


@dataclass(frozen=True, slots=True)
class Recording:
    """What Prometheus recorded, and the last exposition of the first leader."""

    prometheus: Prometheus
    began: float
    last_exposition: Exposition


@dataclass(frozen=True, slots=True)
class Scenario:
    """The first leader, the proxies in front of its database and API server, and Prometheus."""

    sandbox: Sandbox
    database: TcpProxy
    api: TcpProxy
    steps: Steps
    prometheus: Prometheus

    def exposition(self) -> Exposition:
        """The current metrics of the operator."""
        return Exposition(self.sandbox.operator.get("/metrics")[1])

    def wait_for_metric(self, name: str, value: float = 1, **labels: str) -> None:
        """Return once the operator exposes at least this value."""
        what = f"{name} {labels} to be {value}"
        wait_for(lambda: self.exposition().value(f"projectsetup_{name}", **labels) >= value, what)

    def wait_for_scrape(self, query: str) -> None:
        """Return once this query has a result."""
        wait_for(lambda: self.prometheus.query(query), f"Prometheus to return a result for {query}")

    def control(self, **data: str) -> None:
        """Set keys of the queue's ConfigMap."""
        patch = json.dumps({"data": data})
        self.sandbox.api.kubectl("patch", "configmap", "projectsetup-queue", "--type=merge", "-p", patch)

    def perform(self) -> None:
        """Make every event that a metric counts happen at least once."""
        self._wait_in_the_queue()
        self._fail()
        self._miss_a_recipe()
        self._lose_the_database()
        self._lose_the_api_server()

    def _wait_in_the_queue(self) -> None:
        first = Setup.gated(self.sandbox, self.steps, annotations={"priority": "0"})
        self.steps.await_start(first)
        second = Setup.gated(self.sandbox, self.steps, annotations={"priority": "3"})
        third = Setup.gated(self.sandbox, self.steps, annotations={"priority": "7"})
        second.reached_reason("Queued")
        third.reached_reason("Queued")
        self.wait_for_scrape(
            'projectsetup_queue_depth{priority="7"} == 1 and on (instance) projectsetup_queue_oldest_seconds > 0'
        )
        self.control(concurrencyPerNamespace="1")
        self.wait_for_scrape('projectsetup_queue_limited{limit="namespace"} == 2')
        self.control(paused="true", concurrencyPerNamespace="")
        self.wait_for_scrape("projectsetup_queue_paused == 1")
        second.annotate(retry_requested_at="1")
        second.wait_for("past its retry", lambda status: status.get("lastHandledRetry") == "1")
        third.annotate(cancel_requested_at="1")
        assert third.ended()[0] == "Cancelled"
        third.annotate(retry_requested_at="1")
        third.reached_reason("Queued")
        self.steps.release(first)
        assert first.ended()[0] == "SetupSucceeded"
        first.annotate(cancel_requested_at="1", retry_requested_at="1")
        first.wait_for("past its cancel", lambda status: status.get("lastHandledCancel") == "1")
        self.wait_for_scrape('projectsetup_step_duration_seconds_count{step="wait"} == 1')
        self.steps.release()
        self.control(paused="false", concurrency="2")
        assert {second.ended()[0], third.ended()[0]} == {"SetupSucceeded"}

    def _fail(self) -> None:
        assert Setup.make(self.sandbox, "scripts", third="exit 1").ended()[0] == "StepFailed"
        tried = Setup.make(
            self.sandbox, "scripts", second="exit 75", annotations={"max_attempts": "2", "backoff": "1ms"}
        )
        assert tried.ended()[0] == "AttemptsExhausted"
        self.wait_for_scrape('projectsetup_step_duration_seconds_count{step="third"} == 1')
        assert Setup.make(self.sandbox, "scripts").ended()[0] == "SetupSucceeded"

    def _miss_a_recipe(self) -> None:
        waiting = Setup.make(self.sandbox, "not-there-yet")
        waiting.reached_reason("DependencyMissing")
        self.wait_for_scrape("projectsetup_awaiting_dependency == 1")
        waiting.delete()

    def _lose_the_database(self) -> None:
        self.database.close()
        self.wait_for_metric("database_errors_total", kind="unreachable")
        self.database.open()
        wait_for(self.sandbox.operator.is_ready, "the operator to be ready")

    def _lose_the_api_server(self) -> None:
        hold = f'touch "{self.steps.folder}/there"; until [ -e "{self.steps.folder}/away" ]; do sleep 0.05; done'
        setup = Setup.make(self.sandbox, "scripts", first=hold)
        wait_for((self.steps.folder / "there").exists, "the step to run")
        self.api.close()
        (self.steps.folder / "away").touch()
        requested = self.sandbox.project()
        with psycopg.connect(self.sandbox.database_url) as application:
            application.execute("SELECT setup_project(%s, recipe => 'instant')", (requested,))
        self.wait_for_scrape("projectsetup_intake_pending == 1 and projectsetup_intake_oldest_seconds > 0")
        self.wait_for_metric("reconcile_failures_total")
        failed = {"result": "unavailable", "resource": "projectsetups/status", "verb": "update"}
        self.wait_for_metric("api_writes_total", 1, **failed)
        seen = self.exposition().value("projectsetup_api_writes_total", **failed)
        self.wait_for_scrape('projectsetup_api_writes_total{result="unavailable",resource="projectsetups/status"} > 0')
        self.wait_for_metric("api_writes_total", seen + 1, **failed)  # a rate needs a change that was seen
        self.api.open()
        assert setup.ended()[0] == "SetupSucceeded"
        self.wait_for_scrape("sum(projectsetup_intake_pending) == 0")
        assert Setup(self.sandbox, self.sandbox.api, requested).ended()[0] == "SetupSucceeded"
        for ends in ("setups_ended_total", "attempts_ended_total"):  # the end is counted once its write is answered
            self.wait_for_metric(ends, 9)


@pytest.fixture(scope="module")
def recording(
    prometheus_programs: dict[str, Path],
    new_sandbox: NewSandbox,
    kubeconfig: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Recording]:
    assert prometheus_programs
    folder = tmp_path_factory.mktemp("monitoring")
    settings: dict[str, Any] = {"leader_election": "true", "concurrency": "1"}
    began = time.time()
    with new_sandbox(**settings) as sandbox:
        sandbox.api.kubectl("create", "configmap", "projectsetup-queue")
        standby = OperatorProcess(
            folder / "standby",
            kubeconfig=kubeconfig,
            database_url=sandbox.database_url,
            namespaces=sandbox.api.namespace,
            operator_namespace=sandbox.api.namespace,
            recipes_dir=str(RECIPES),
            **settings,
        )
        targets = {"first": sandbox.operator.port, "second": standby.port}
        rules = plain_rules(folder / "rules.yaml")
        with (
            TcpProxy(urlsplit(sandbox.database_url).port or 0) as database,
            proxied_api_server(kubeconfig, folder) as (api, moved),
            running(folder, targets=targets, rules=[rules]) as prometheus,
        ):
            environment = {"DATABASE_URL": through(sandbox.database_url, database), "KUBECONFIG": str(moved)}
            sandbox.operator.configure(environment, intake_namespace=sandbox.api.namespace)
            sandbox.operator.start()
            wait_for(sandbox.operator.leads, "the first operator to lead")
            standby.start()
            try:
                scenario = Scenario(sandbox, database, api, Steps(folder / "steps"), prometheus)
                scenario.wait_for_scrape('projectsetup_leading{instance="second"} == 0')
                scenario.perform()
                last_exposition = scenario.exposition()
                scenario.wait_for_scrape('increase(projectsetup_api_writes_total{result="unavailable"}[1m]) > 0')
                assert sandbox.operator.terminate() == 0
                scenario.wait_for_scrape('projectsetup_leading{instance="second"} == 1')
                yield Recording(prometheus, began, last_exposition)
            finally:
                standby.close()


@pytest.mark.parametrize("metric", sorted(documented()))
def test_a_real_run_moves(recording: Recording, metric: str) -> None:
    moves = CONSTANT.get(metric) or NEVER_LESS.get(documented()[metric].type, UP_AND_DOWN)
    moved = moves.format(metric)
    assert recording.prometheus.query(moved)


@pytest.mark.parametrize(
    ("metric", "labels", "value"), COUNTED, ids=[f"{name} {' '.join(labels.values())}" for name, labels, _ in COUNTED]
)
def test_counts_what_happened(recording: Recording, metric: str, labels: dict[str, str], value: float) -> None:
    assert recording.last_exposition.value(f"projectsetup_{metric}", **labels) == value


def test_the_exposed_metrics_are_the_documented_ones(recording: Recording) -> None:
    assert recording.last_exposition.families == documented()


@pytest.mark.parametrize("title", QUERIES)
def test_each_query_of_the_dashboard_has_a_result(recording: Recording, title: str) -> None:
    query = substitute_variables(QUERIES[title], "30s")
    found = recording.prometheus.query_range(query, start=recording.began, end=time.time(), step=1.0)
    assert any(math.isfinite(value) for series in found for _, value in series.points)


def test_each_alert_is_evaluated(recording: Recording) -> None:
    def all_evaluated() -> bool:
        return all(rule["health"] != "unknown" for rule in recording.prometheus.rules())

    wait_for(all_evaluated, "Prometheus to evaluate all rules")
    rules = recording.prometheus.rules()
    assert {rule["health"] for rule in rules} == {"ok"}
    (manifest,) = read(MANIFESTS / "monitoring" / "rules.yaml")
    assert [rule["name"] for rule in rules] == [rule["alert"] for rule in manifest["spec"]["groups"][0]["rules"]]

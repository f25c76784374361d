"""Applications request setups in SQL while operator, API server and PostgreSQL are killed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from devcluster import Cluster
from tests.support.chaos.applications import Applications
from tests.support.chaos.fault_run import IS_LONG, SEED, NewFaultRun
from tests.support.chaos.invariants import ReportedAttempts, check_invariants
from tests.support.operator_process import OperatorProcess, wait_for
from tests.support.recipe_policy import recipe_forbidden

CONNECTIONS = 8
IN_STARTUP = 0.2
"""Share of the kills that hit the operator during its startup."""
MAX_STARTUP, MAX_WORK = 2.0, 2.0
"""The most seconds between its start, or its leadership, and the kill."""
MAX_OUTAGE = 2.0
SECONDS_PER_KILL = 5.0


def storm(operator: OperatorProcess, control_plane: Cluster, kills: int, outages: int, rng: random.Random) -> None:
    """Kill the operator `kills` times, and between them the API server and PostgreSQL in turn, `outages` times each."""
    parts = dict(zip(sorted(rng.sample(range(kills), 2 * outages)), ["apiserver", "postgres"] * outages, strict=True))
    for kill in range(kills):
        if rng.random() < IN_STARTUP:
            time.sleep(rng.uniform(0.0, MAX_STARTUP))
        else:
            wait_for(lambda: operator.leads() or not operator.alive, "the operator to lead", limit=60.0)
            time.sleep(rng.uniform(0.0, MAX_WORK))
        if part := parts.get(kill):
            control_plane.stop(part)
            time.sleep(rng.uniform(0.1, MAX_OUTAGE))
        operator.kill()
        operator.start(ready=False)
        if part:
            time.sleep(rng.uniform(0.1, MAX_OUTAGE))
            control_plane.start(part)


def test_each_committed_request_is_one_series(
    new_fault_run: NewFaultRun, control_plane: Cluster, tmp_path: Path, report_figures: Callable[[object], None]
) -> None:
    requests, kills, outages = (200, 30, 3) if IS_LONG else (60, 6, 1)
    rng = random.Random(SEED)  # noqa: S311  # the same order every time
    with new_fault_run(concurrency="8") as run, recipe_forbidden(run.sandbox.api, tmp_path):
        applications = Applications.plan(run, requests, rng)
        operator = run.operator()
        operator.configure(intake_namespace=run.sandbox.api.namespace)
        operator.start(ready=False)
        with applications.at_work(CONNECTIONS, seconds=kills * SECONDS_PER_KILL, rng=rng):
            storm(operator, control_plane, kills, outages, rng)
        began = time.monotonic()
        wait_for(lambda: applications.pending() == 0, "all requests to be handled", limit=120.0)
        applications.expect_setups()
        run.await_ends(limit=300 if IS_LONG else 120)
        seconds = time.monotonic() - began
        run.await_cleanup()
        figures = check_invariants(run)
        for project in run.setups:
            reported = ReportedAttempts.read(run.history.versions[project])
            assert reported.started[1] - reported.released[1] <= 1, f"{project}: more than one series: {reported}"
        plans = applications.check()
        report_figures(
            f"{requests} requests from {CONNECTIONS} connections ({plans}); {kills} SIGKILLs of the "
            f"operator, {outages} each of API server and PostgreSQL; all ended {seconds:.0f} s later; {figures}"
        )

"""An API server that is slow, drops responses, refuses requests, and cuts, silences or refuses watches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.chaos.fault_run import (
    FAULTY_OPERATOR,
    IS_LONG,
    SEED,
    FaultRun,
    NewFaultRun,
    Restarter,
    await_leadership,
)
from tests.support.chaos.invariants import check_invariants
from tests.support.chaos.proxy import Proxy
from tests.support.operator_process import wait_for

CANCELLED, DELETED = 5, 9
"""Every fifth setup is cancelled, and every ninth deleted."""
RESYNC_SECONDS: Final = "3"
LIMIT: Final = 120.0
REFUSALS: Final = 2


@pytest.fixture
def proxy(control_plane_kubeconfig: Path, tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(control_plane_kubeconfig, tmp_path, random.Random(SEED)) as proxy:  # noqa: S311  # a reproducible order
        yield proxy


@pytest.fixture
def run(new_fault_run: NewFaultRun) -> Iterator[FaultRun]:
    with new_fault_run() as run:
        yield run


def test_setups_end_well_with_a_slow_and_lossy_api_server(
    proxy: Proxy, run: FaultRun, report_figures: Callable[[object], None]
) -> None:
    count, proxy.faults.share = (150, 0.3) if IS_LONG else (24, 0.25)
    restarter = Restarter(run.operator(kubeconfig=proxy.path).start(ready=False))
    await_leadership(restarter.operator)
    setups = run.submit_mixed(count, random.Random(SEED))  # noqa: S311  # a reproducible order
    for number, setup in enumerate(setups, start=1):
        if number % CANCELLED == 0:
            run.cancel(setup)
        elif number % DELETED == 0:
            run.delete(setup)
    seconds = run.await_ends(limit=600 if IS_LONG else 120, meanwhile=restarter.check)
    proxy.faults.share = 0.0
    run.await_cleanup()
    figures = check_invariants(run)
    faults = ", ".join(f"{times} {kind}" for kind, times in sorted(proxy.faults.counts.items()))
    report_figures(
        f"all ended after {seconds:.0f} s; requests {faults}; operator restarts: {restarter.restarts}; {figures}"
    )
    assert figures.interrupted == 0
    assert sum(proxy.faults.counts.values()) > 0


def test_a_silent_watch_is_detected_and_missed_changes_are_found(
    proxy: Proxy, run: FaultRun, report_figures: Callable[[object], None]
) -> None:
    environment = {} if IS_LONG else {"RESYNC_SECONDS": RESYNC_SECONDS}
    operator = run.operator(kubeconfig=proxy.path, command=FAULTY_OPERATOR, environment=environment).start()
    await_leadership(operator)
    deleted, cancelled = run.submit("gated"), run.submit("gated")
    run.await_step_event("end", deleted, cancelled)
    proxy.faults.silent = True
    run.delete(deleted)
    run.cancel(cancelled)
    run.submit("quick")
    wait_for(lambda: "watch: silent" in operator.get("/readyz")[1], "/readyz to report the silent watch", limit=LIMIT)
    run.await_ends(limit=LIMIT)
    proxy.faults.silent = False
    wait_for(operator.is_ready, "the watch to restart", limit=LIMIT)
    run.submit("quick")
    run.await_ends(limit=LIMIT)
    run.await_cleanup()
    report_figures(check_invariants(run))
    assert "restarting the watch" in operator.log.read_text()


def test_a_refused_watch_is_retried(proxy: Proxy, run: FaultRun, report_figures: Callable[[object], None]) -> None:
    watch = f"/apis/codemyspec.com/v1alpha1/namespaces/{run.sandbox.api.namespace}/projectsetups"
    proxy.faults.no_watch = True
    await_leadership(run.operator(kubeconfig=proxy.path).start())
    refused = f"no watch of {watch}"
    wait_for(lambda: proxy.faults.counts[refused] >= REFUSALS, "the watch to be retried", limit=LIMIT)
    proxy.faults.no_watch = False
    wait_for(lambda: watch in proxy.watched, "the watch to begin", limit=LIMIT)
    run.submit("quick")
    run.await_ends(limit=LIMIT)
    report_figures(check_invariants(run))

"""An API server that is slow, forgets to answer, cuts watches, and answers with errors at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.support.chaos.fault_run import FaultRun, NewFaultRun, Restarter, await_lead
from tests.support.chaos.invariants import check_invariants
from tests.support.chaos.options import IS_LONG, SEED
from tests.support.chaos.proxy import Proxy

CANCELLED, DELETED = 5, 9
"""One in so many setups."""


def test_all_ends_well_with_a_slow_and_lossy_api_server(
    new_fault_run: NewFaultRun, kubeconfig_of_plane: Path, tmp_path: Path, tell: Callable[[object], None]
) -> None:
    count, share = (150, 0.3) if IS_LONG else (24, 0.25)
    rng = random.Random(SEED)  # noqa: S311  # the same order every time
    with Proxy(kubeconfig_of_plane, tmp_path, rng) as proxy, new_fault_run() as fault_run:
        proxy.trouble.share = share
        restarter = Restarter(fault_run.operator(kubeconfig=proxy.path).start(ready=False))
        await_lead(restarter.operator)
        disturb(fault_run, count)
        seconds = fault_run.await_ends(limit=600 if IS_LONG else 120, meanwhile=restarter.look)
        proxy.trouble.share = 0.0
        fault_run.await_no_remains()
        figures = check_invariants(fault_run)
        met = ", ".join(f"{times} {kind}" for kind, times in sorted(proxy.trouble.met.items()))
        tell(
            f"all over after {seconds:.0f} s; requests {met}; the operator ended {restarter.restarts} times; {figures}"
        )
        assert figures.burned == 0
        assert sum(proxy.trouble.met.values()) > 0


def disturb(fault_run: FaultRun, count: int) -> None:
    """Submit setups; cancel some of them and delete others."""
    rng = random.Random(SEED)  # noqa: S311  # the same order every time
    setups = fault_run.submit_mixed(count, rng)
    for number, setup in enumerate(setups, start=1):
        if number % CANCELLED == 0:
            fault_run.cancel(setup)
        elif number % DELETED == 0:
            fault_run.delete(setup)

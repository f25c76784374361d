"""A watch that stays open and tells nothing, and one that cannot be had."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.chaos import faulty_operator
from tests.support.chaos.fault_run import NewFaultRun, await_lead
from tests.support.chaos.invariants import check_invariants
from tests.support.chaos.options import IS_LONG, SEED
from tests.support.chaos.proxy import Proxy
from tests.support.operator_process import wait_for

FAULTY: Final = (sys.executable, str(Path(faulty_operator.__file__)))
COMPARE_SECONDS: Final = "3"
"""In the short form full lists come more often than they do."""
LIMIT: Final = 120.0
TRIES: Final = 2


def test_a_silent_watch_is_noticed_and_what_it_misses_is_found(
    new_fault_run: NewFaultRun, kubeconfig_of_plane: Path, tmp_path: Path, tell: Callable[[object], None]
) -> None:
    environment = {} if IS_LONG else {"COMPARE_SECONDS": COMPARE_SECONDS}
    rng = random.Random(SEED)  # noqa: S311
    with Proxy(kubeconfig_of_plane, tmp_path, rng) as proxy, new_fault_run() as fault_run:
        operator = fault_run.operator(kubeconfig=proxy.path, command=FAULTY, environment=environment).start()
        await_lead(operator)
        deleted, cancelled = fault_run.submit("gated"), fault_run.submit("gated")
        wait_for(
            lambda: all(fault_run.step_log.tells(setup.project, "end") for setup in (deleted, cancelled)),
            "the setups to run",
        )
        proxy.trouble.deaf = True
        fault_run.delete(deleted)
        fault_run.cancel(cancelled)
        fault_run.submit("calm")
        wait_for(lambda: "watch: silent" in operator.get("/readyz")[1], "/readyz to say so", limit=LIMIT)
        fault_run.await_ends(limit=LIMIT)
        proxy.trouble.deaf = False
        wait_for(operator.is_ready, "the watch to begin again", limit=LIMIT)
        fault_run.submit("calm")
        fault_run.await_ends(limit=LIMIT)
        fault_run.await_no_remains()
        tell(check_invariants(fault_run))
        assert "restarting the watch" in operator.log.read_text()


def test_a_watch_that_is_refused_is_tried_again_and_again(
    new_fault_run: NewFaultRun, kubeconfig_of_plane: Path, tmp_path: Path, tell: Callable[[object], None]
) -> None:
    rng = random.Random(SEED)  # noqa: S311
    with Proxy(kubeconfig_of_plane, tmp_path, rng) as proxy, new_fault_run() as fault_run:
        watch = f"/apis/codemyspec.com/v1alpha1/namespaces/{fault_run.sandbox.api.namespace}/projectsetups"
        proxy.trouble.no_watch = True
        await_lead(fault_run.operator(kubeconfig=proxy.path).start())
        wait_for(lambda: proxy.trouble.met[f"no watch of {watch}"] >= TRIES, "the watch to be tried again", limit=LIMIT)
        proxy.trouble.no_watch = False
        wait_for(lambda: watch in proxy.watched, "the watch to begin", limit=LIMIT)
        fault_run.submit("calm")
        fault_run.await_ends(limit=LIMIT)
        tell(check_invariants(fault_run))

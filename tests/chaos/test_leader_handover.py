"""A leader that freezes or ends, and the standby that takes over."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from tests.support.chaos.fault_run import NewFaultRun, await_lead
from tests.support.chaos.freezes import FREEZES, LIMIT, Freeze, Outcome
from tests.support.chaos.invariants import check_invariants
from tests.support.operator_process import wait_for

TAKEOVER = 10.0
"""Seconds, on the busiest of machines: far less than the 30 of a Lease that was not given back."""


@pytest.mark.parametrize("freeze", FREEZES, ids=lambda freeze: freeze.name)
def test_a_frozen_leader_wakes_too_late_to_do_anything(
    freeze: Freeze, frozen_leaders: dict[str, Future[Outcome]], tell: Callable[[object], None]
) -> None:
    outcome = frozen_leaders[freeze.name].result()
    tell(
        f"taken over {outcome.takeover:.1f} s after the freeze, all processes gone after {outcome.gone:.1f} s; the "
        f"woken leader wrote {len(outcome.written)} times to the API server, {outcome.recorded} times to the record, "
        f"exit code {outcome.exit_code}; {outcome.figures}"
    )
    assert outcome.exit_code == 1
    assert outcome.complaints == 1
    events = [request for request in outcome.written if request.endswith("/events")]
    assert ([request for request in outcome.written if request not in events], outcome.recorded) == ([], 0)
    assert len(events) <= 1, "no more than was being sent in the instant of the freeze, and nothing fences an event"
    assert outcome.figures.given_back == 0


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_leader_that_is_told_to_end_is_followed_at_once(
    new_fault_run: NewFaultRun, tell: Callable[[object], None], busy: bool
) -> None:
    with new_fault_run(shutdown_grace="200ms") as fault_run:
        first = fault_run.operator().start()
        await_lead(first)
        second = fault_run.operator().start()
        running = [fault_run.submit("gated") for _ in range(6)] if busy else []
        wait_for(lambda: all(fault_run.step_log.tells(setup.project, "end") for setup in running), "the steps to run")
        began = time.monotonic()
        first.process.send_signal(signal.SIGTERM)
        await_lead(second, limit=TAKEOVER)
        takeover = time.monotonic() - began
        assert first.process.wait(LIMIT) == 0
        fault_run.step_log.gate.touch()
        fault_run.await_ends(limit=LIMIT)
        fault_run.await_no_remains()
        figures = check_invariants(fault_run)
        tell(f"taken over {takeover:.1f} s after SIGTERM; {figures}")
        assert (figures.burned, figures.given_back) == (0, len(running))

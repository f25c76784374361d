"""A leader freezes or ends, and its standby takes over."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from tests.support.chaos.fault_run import FaultRun, NewFaultRun, await_leadership
from tests.support.chaos.frozen_leader import FREEZES, LIMIT, Freeze, Outcome
from tests.support.chaos.invariants import check_invariants
from tests.support.chaos.setup_history import Body

TAKEOVER = 10.0
"""Seconds on a busy machine; far below the 30 s until a Lease that was not released expires."""


@pytest.mark.parametrize("freeze", FREEZES, ids=lambda freeze: freeze.name)
def test_a_frozen_leader_wakes_too_late_to_do_anything(
    freeze: Freeze, frozen_leaders: dict[str, Future[Outcome]], report_figures: Callable[[object], None]
) -> None:
    outcome = frozen_leaders[freeze.name].result()
    report_figures(
        f"taken over {outcome.takeover:.1f} s after the freeze, all processes gone after {outcome.gone:.1f} s; the "
        f"woken leader wrote {len(outcome.written)} times to the API server, {outcome.recorded} times to the record, "
        f"exit code {outcome.exit_code}; {outcome.figures}"
    )
    assert outcome.exit_code == 1
    assert outcome.lease_losses == 1
    events = [request for request in outcome.written if request.endswith("/events")]
    assert ([request for request in outcome.written if request not in events], outcome.recorded) == ([], 0)
    assert len(events) <= 1, "more than the event that was in flight; events are not fenced"
    assert outcome.figures.released == 0


def lease(run: FaultRun) -> Body:
    """The spec of the Lease."""
    spec: Body = json.loads(run.sandbox.api.kubectl("get", "lease", "projectsetup-operator", "-o", "json"))["spec"]
    return spec


def test_a_terminated_leader_hands_over_at_once(
    new_fault_run: NewFaultRun, report_figures: Callable[[object], None]
) -> None:
    with new_fault_run(shutdown_grace="200ms") as run:
        first = run.operator().start()
        await_leadership(first)
        second = run.operator().start()
        running = [run.submit("gated") for _ in range(6)]
        run.await_step_event("end", *running)
        before, idle = lease(run), second.get("/metrics")[1]
        assert (str(first.pid) in before["holderIdentity"].split("."), before["leaseDurationSeconds"]) == (True, 30)
        assert {"projectsetup_leading 0.0", "projectsetup_attempts_started_total 0.0"} <= set(idle.splitlines())
        assert 'resource="projectsetups/status"' not in idle
        began = time.monotonic()
        first.process.send_signal(signal.SIGTERM)
        await_leadership(second, limit=TAKEOVER)
        takeover = time.monotonic() - began
        assert first.process.wait(LIMIT) == 0
        assert str(second.pid) in lease(run)["holderIdentity"].split(".")
        assert lease(run)["leaseTransitions"] == before["leaseTransitions"] + 1
        run.step_log.gate.touch()
        run.await_ends(limit=LIMIT)
        run.await_cleanup()
        figures = check_invariants(run)
        report_figures(f"taken over {takeover:.1f} s after SIGTERM; {figures}")
        assert (figures.interrupted, figures.released) == (0, len(running))
        assert second.terminate() == 0
        assert lease(run)["holderIdentity"] == ""

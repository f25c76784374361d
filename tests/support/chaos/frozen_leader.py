"""Freezes a leader at chosen moments while a standby takes over, then wakes it."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.chaos.fault_run import FAULTY_OPERATOR, FaultRun, NewFaultRun, await_leadership
from tests.support.chaos.invariants import Figures, check_invariants
from tests.support.chaos.proxy import Proxy
from tests.support.operator_process import OperatorProcess, wait_for

FROZEN: Final = 60.0
TAKEOVER: Final = 35.0
LIMIT: Final = 90.0
NO_FAULT: Final = "none * before SIGSTOP"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a frozen leader and its standby did."""

    takeover: float
    """Seconds from the freeze to the new leader."""
    gone: float
    """Seconds from the freeze to the end of the frozen leader's last attempt process."""
    exit_code: int
    lease_losses: int
    """Log lines of the woken leader about its lost Lease."""
    written: list[str]
    """Its writes to the API server after it woke."""
    recorded: int
    """Its writes to the record after it woke."""
    figures: Figures


@dataclass(frozen=True, slots=True)
class Freeze:
    """The port call at which the leader stops itself; without one it is stopped while attempts run."""

    name: str
    fault: str = ""

    def run(self, new_fault_run: NewFaultRun, kubeconfig: Path, folder: Path, *, seed: int, frozen: float) -> Outcome:
        """Freeze a leader, let the standby finish the work, and wake the first one."""
        with ExitStack() as stack:
            run = stack.enter_context(new_fault_run())
            proxy = stack.enter_context(Proxy(kubeconfig, folder, random.Random(seed)))  # noqa: S311
            first = run.operator(
                kubeconfig=proxy.path, command=FAULTY_OPERATOR, environment={"FAULT": self.fault or NO_FAULT}
            )
            first.start()
            await_leadership(first)
            second = run.operator().start()
            assert not second.leads()
            began = self._freeze(run, first)
            gone = self._await_takeover(run, second) - began
            takeover = time.monotonic() - began
            run.step_log.gate.touch()
            run.await_ends(limit=LIMIT)
            time.sleep(max(0.0, began + frozen - time.monotonic()))
            written, recorded = len(proxy.written), run.changes_by(first)
            first.thaw()
            exit_code = first.process.wait(LIMIT)
            lease_losses = first.log.read_text().count("lost the leader lease")
            run.await_cleanup()
            return Outcome(
                takeover,
                gone,
                exit_code,
                lease_losses,
                proxy.written[written:],
                run.changes_by(first) - recorded,
                check_invariants(run),
            )

    def _freeze(self, run: FaultRun, leader: OperatorProcess) -> float:
        """Freeze it; return the time."""
        if not self.fault:
            gated = [run.submit(behavior) for behavior in ("sigterm-proof", "gated", "sigterm-proof")]
            for behavior in ("forking", "quick", "quick", "quick"):
                run.submit(behavior)
            run.await_step_event("end", *gated)
            leader.freeze()
            return time.monotonic()
        for behavior in ("quick", "forking", "quick"):
            run.submit(behavior)
        wait_for(lambda: _is_stopped(leader.pid), f"the leader to stop itself {self.name}", limit=LIMIT)
        return time.monotonic()

    def _await_takeover(self, run: FaultRun, standby: OperatorProcess) -> float:
        """Return when the frozen leader's last attempt process was gone; the standby must not lead before."""
        wait_for(lambda: not run.living(), "the frozen leader's attempts to end", limit=25.0)
        gone = time.monotonic()
        assert not standby.leads(), "the standby took the Lease before the attempts had ended"
        await_leadership(standby, limit=TAKEOVER)
        return gone


FREEZES: Final = (
    Freeze("while attempts run"),
    Freeze("before it claims", "claim initializing before SIGSTOP"),
    Freeze("before it reports Running", "replace_status Running before SIGSTOP"),
    Freeze("before it starts an attempt", "run * before SIGSTOP"),
    Freeze("before it records an end", "finish Succeeded before SIGSTOP"),
)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

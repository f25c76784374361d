"""Freezes a leader at chosen moments while a standby takes over."""

from __future__ import annotations

import random
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.chaos.fault_run import FaultRun, NewFaultRun, await_lead
from tests.support.chaos.invariants import Figures, check_invariants
from tests.support.chaos.proxy import Proxy
from tests.support.operator_process import OperatorProcess, wait_for

FAULTY: Final = (sys.executable, str(Path(__file__).with_name("faulty_operator.py")))
FROZEN: Final = 60.0
TAKEOVER: Final = 35.0
LIMIT: Final = 90.0
NO_FAULT: Final = "none * before SIGSTOP"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a frozen leader and its standby."""

    takeover: float
    """Seconds from the freeze to the new leader,"""
    gone: float
    """and to the end of the last process of the frozen one's attempts."""
    exit_code: int
    complaints: int
    """Lines in which the woken leader says that it no longer leads."""
    written: list[str]
    """What it changed after it woke, at the API server"""
    recorded: int
    """and in the record."""
    figures: Figures


@dataclass(frozen=True, slots=True)
class Freeze:
    """At which call of a port the leader stops itself; without one it is stopped in the middle of its work."""

    name: str
    fault: str = ""

    def run(self, new_fault_run: NewFaultRun, kubeconfig: Path, folder: Path, *, seed: int, frozen: float) -> Outcome:
        """Freeze a leader, let another one finish the work, wake the first."""
        with ExitStack() as stack:
            fault_run = stack.enter_context(new_fault_run())
            proxy = stack.enter_context(Proxy(kubeconfig, folder, random.Random(seed)))  # noqa: S311
            first = fault_run.operator(
                kubeconfig=proxy.path, command=FAULTY, environment={"FAULT": self.fault or NO_FAULT}
            )
            first.start()
            await_lead(first)
            second = fault_run.operator().start()
            assert not second.leads()
            began = self._freeze(fault_run, first)
            gone = self._await_takeover(fault_run, second) - began
            takeover = time.monotonic() - began
            fault_run.step_log.gate.touch()
            fault_run.await_ends(limit=LIMIT)
            time.sleep(max(0.0, began + frozen - time.monotonic()))
            written, recorded = len(proxy.written), fault_run.changes_by(first)
            first.thaw()
            exit_code = first.process.wait(LIMIT)
            complaints = first.log.read_text().count("lost the leader lease")
            fault_run.await_no_remains()
            return Outcome(
                takeover,
                gone,
                exit_code,
                complaints,
                proxy.written[written:],
                fault_run.changes_by(first) - recorded,
                check_invariants(fault_run),
            )

    def _freeze(self, fault_run: FaultRun, leader: OperatorProcess) -> float:
        """When it was frozen."""
        if not self.fault:
            setups = [
                fault_run.submit(mood) for mood in ("fortress", "gated", "fortress", "family", "calm", "calm", "calm")
            ]
            wait_for(lambda: all(fault_run.step_log.tells(s.project, "end") for s in setups[:3]), "the steps to run")
            leader.freeze()
            return time.monotonic()
        for mood in ("calm", "family", "calm"):
            fault_run.submit(mood)
        wait_for(lambda: _is_stopped(leader.pid), f"the leader to stop itself {self.name}", limit=LIMIT)
        return time.monotonic()

    def _await_takeover(self, fault_run: FaultRun, standby: OperatorProcess) -> float:
        """When the last process of the frozen leader's attempts was gone, which is before the standby leads."""
        wait_for(lambda: not fault_run.living(), "the frozen leader's attempts to end", limit=25.0)
        gone = time.monotonic()
        assert not standby.leads(), "the Lease was taken before the attempts were known to be gone"
        await_lead(standby, limit=TAKEOVER)
        return gone


FREEZES: Final = (
    Freeze("in the middle of its work"),
    Freeze("before it claims", "claim initializing before SIGSTOP"),
    Freeze("before it tells that it runs", "replace_status Running before SIGSTOP"),
    Freeze("before it starts", "run * before SIGSTOP"),
    Freeze("before it records an end", "finish Succeeded before SIGSTOP"),
)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

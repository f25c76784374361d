"""The supervisor at work: it does what the operator asks, watches its wardens, and outlives the operator."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from projectsetup.engines.local.supervisor import protocol
from projectsetup.engines.local.supervisor.processes import kill_round
from projectsetup.engines.local.supervisor.results import report
from projectsetup.engines.local.supervisor.waking import wake_on
from projectsetup.engines.local.supervisor.warden import KILL, run_warden

NOBODY = 0
"""The id of a job that no operator waits for."""

LOOK_AT_CLOCK = 0.5
_KILL_AGAIN = 0.01


@dataclass(frozen=True, slots=True)
class _Job:
    id: int
    is_step: bool


@dataclass(slots=True)
class _Warden:
    pid: int
    channel: socket.socket
    job: _Job | None = None

    @property
    def runs_step(self) -> bool:
        return self.job is not None and self.job.is_step


class Supervisor:
    """Serves one operator; all processes below this one are its wardens and what they left behind.

    There are as many wardens as there were jobs at once.
    """

    def __init__(self, channel: socket.socket, directory: str) -> None:
        self._channel = channel
        self._directory = directory
        self._poll = select.poll()
        self._wardens: dict[int, _Warden] = {}
        self._orphaned: list[int] = []
        self._killing = False
        self._unsent: list[protocol.Message] = []
        channel.setblocking(False)
        signal.pthread_sigmask(signal.SIG_BLOCK, (KILL,))  # a warden must not meet it before it is ready
        self._woken = wake_on(signal.SIGCHLD)
        for fd in (channel.fileno(), self._woken):
            self._poll.register(fd, select.POLLIN)

    def serve(self) -> None:
        """Work until the operator is gone or silent for too long. Nothing has been ended then."""
        heard = _clock()
        while True:
            busy = self._killing or bool(self._orphaned)
            ready = {fd for fd, _ in self._poll.poll(1000 * (_KILL_AGAIN if busy else LOOK_AT_CLOCK))}
            if _clock() - heard > protocol.SILENCE_LIMIT:
                return  # even if it has just woken up again: another operator may have taken over
            if self._channel.fileno() in ready:
                received = protocol.receive(self._channel)
                if received is None:
                    return
                heard = _clock()
                self._do(*received)
            if self._woken in ready:
                os.read(self._woken, 4096)
            for warden in list(self._wardens.values()):
                if warden.channel.fileno() in ready:
                    self._hear(warden)
            self._reap()
            self._sweep()
            self._tell()

    def end_all(self) -> None:
        """SIGKILL for everything below this process; returns when nothing is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                kill_round()
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                time.sleep(_KILL_AGAIN)

    def remove_in_background(self, path: str) -> None:
        """Remove the directory of another supervisor, which nobody waits for."""
        self._give(_Job(NOBODY, is_step=False), {"op": "clear", "path": path})

    def _do(self, message: protocol.Message, fds: list[int]) -> None:
        match message["op"]:
            case "beat":
                self._tell({"op": "beat"})
            case "run":
                self._begin(_Job(message["id"], is_step=True), message, fds)
            case "remove":
                path = f"{self._directory}/{os.path.basename(message['name'])}"
                self._begin(_Job(message["id"], is_step=False), {"op": "remove", "path": path}, fds)
            case "stop":
                for warden in self._wardens.values():
                    if warden.job == _Job(message["id"], is_step=True):
                        with contextlib.suppress(OSError):  # it has just ended
                            protocol.send(warden.channel, message)
            case "kill":
                self._killing = True
        for fd in fds:
            os.close(fd)

    def _begin(self, job: _Job, message: protocol.Message, fds: list[int]) -> None:
        try:
            self._give(job, message, fds)
        except OSError as error:
            report(fds[-1], {"error": f"cannot start a process: {error.strerror}"})
            self._tell({"op": "ended", "id": job.id})

    def _give(self, job: _Job, message: protocol.Message, fds: Sequence[int] = ()) -> None:
        """Have a warden do it: one that has nothing to do, or a new one. Raises OSError."""
        for warden in [warden for warden in self._wardens.values() if warden.job is None]:
            with contextlib.suppress(OSError):  # it was killed meanwhile
                protocol.send(warden.channel, message, tuple(fds))
                warden.job = job
                return
        warden = self._new_warden()
        protocol.send(warden.channel, message, tuple(fds))
        warden.job = job

    def _new_warden(self) -> _Warden:
        supervisor = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    run_warden(supervisor, theirs, os.path.dirname(self._directory))
                    code = 0
                finally:
                    os._exit(code)
        warden = self._wardens[pid] = _Warden(pid, ours)
        self._poll.register(ours.fileno(), select.POLLIN)
        return warden

    def _hear(self, warden: _Warden) -> None:
        received = protocol.receive(warden.channel)
        if received is None:
            self._poll.unregister(warden.channel.fileno())  # it ends, or was killed
        elif warden.job is not None:
            self._over(warden)

    def _over(self, warden: _Warden) -> None:
        job, warden.job = warden.job, None
        if job is not None:
            self._tell({"op": "ended", "id": job.id})

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                warden = self._wardens.pop(pid, None)
                if warden is not None:
                    self._bury(warden, status)

    def _bury(self, warden: _Warden, status: int) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(warden.channel.fileno())
        warden.channel.close()
        if warden.job is not None and warden.job.is_step and status != 0:
            self._orphaned.append(warden.job.id)  # it did not end by itself: its step may still run
        else:
            self._over(warden)

    def _sweep(self) -> None:
        """End what has to be ended, a round at a time, and tell when it is gone."""
        if not self._killing and not self._orphaned:
            return
        if not kill_round(
            spare=[pid for pid, warden in self._wardens.items() if not (self._killing and warden.runs_step)]
        ):
            return
        for job_id in self._orphaned:
            self._tell({"op": "ended", "id": job_id})
        self._orphaned.clear()
        if self._killing:
            self._killing = False
            self._tell({"op": "killed"})

    def _tell(self, *messages: protocol.Message) -> None:
        """Never wait for an operator that does not listen: what it has no room for is told later."""
        self._unsent.extend(messages)
        with contextlib.suppress(OSError):  # when it is gone, the next look at the channel will tell
            while self._unsent:
                protocol.send(self._channel, self._unsent[0])
                del self._unsent[0]


def _clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

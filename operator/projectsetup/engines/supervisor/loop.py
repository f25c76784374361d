"""The supervisor at work: it does what the operator asks, watches its wardens, and outlives the operator."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from projectsetup.engines.supervisor import protocol
from projectsetup.engines.supervisor.directories import remove_own
from projectsetup.engines.supervisor.processes import kill_round, send
from projectsetup.engines.supervisor.remover import run_remover
from projectsetup.engines.supervisor.results import report
from projectsetup.engines.supervisor.warden import KILL, STOP, run_warden

NOBODY = 0
"""The id of a job that no operator waits for."""

LOOK_AT_CLOCK = 0.5
_KILL_AGAIN = 0.01


@dataclass(frozen=True, slots=True)
class _Job:
    id: int
    is_step: bool


class Supervisor:
    """Serves one operator; all processes below this one are its wardens, removers and what they left behind."""

    def __init__(self, channel: socket.socket, directory: str) -> None:
        self._channel = channel
        self._directory = directory
        self._jobs: dict[int, _Job] = {}
        self._orphaned: list[int] = []
        self._killing = False
        self._unsent: list[protocol.Message] = []
        channel.setblocking(False)
        self._woken, wakes = os.pipe()
        for fd in (self._woken, wakes):
            os.set_blocking(fd, False)
        signal.pthread_sigmask(signal.SIG_BLOCK, (STOP, KILL))  # a warden must not meet them before it is ready
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Work until the operator is gone or silent for too long. Nothing has been ended then."""
        poll = select.poll()
        for fd in (self._channel.fileno(), self._woken):
            poll.register(fd, select.POLLIN)
        heard = _clock()
        while True:
            busy = self._killing or bool(self._orphaned)
            ready = [fd for fd, _ in poll.poll(1000 * (_KILL_AGAIN if busy else LOOK_AT_CLOCK))]
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
        self._fork(_Job(NOBODY, is_step=False), lambda: remove_own(path))

    def _do(self, message: protocol.Message, fds: list[int]) -> None:
        match message["op"]:
            case "beat":
                self._tell({"op": "beat"})
            case "run":
                self._begin(_Job(message["id"], is_step=True), fds)
            case "remove":
                self._begin(_Job(message["id"], is_step=False), fds, name=message["name"])
            case "stop":
                send(STOP, [pid for pid, job in self._jobs.items() if job == _Job(message["id"], is_step=True)])
            case "kill":
                self._killing = True
        for fd in fds:
            os.close(fd)

    def _begin(self, job: _Job, fds: list[int], name: str = "") -> None:
        supervisor = os.getpid()
        try:
            if job.is_step:
                self._fork(job, lambda: run_warden(supervisor, *fds))
            else:
                path = f"{self._directory}/{os.path.basename(name)}"
                self._fork(job, lambda: run_remover(supervisor, path, *fds))
        except OSError as error:
            report(fds[-1], {"error": f"cannot start a process: {error.strerror}"})
            self._tell({"op": "ended", "id": job.id})

    def _fork(self, job: _Job, work: Callable[[], None]) -> None:
        pid = os.fork()
        if pid:
            self._jobs[pid] = job
            return
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                job = self._jobs.pop(pid, None)
                if job is None:
                    continue
                if job.is_step and status != 0:
                    self._orphaned.append(job.id)  # the warden did not end by itself: its step may still run
                else:
                    self._tell({"op": "ended", "id": job.id})

    def _sweep(self) -> None:
        """End what has to be ended, a round at a time, and tell when it is gone."""
        if not self._killing and not self._orphaned:
            return
        if not kill_round(spare=[pid for pid, job in self._jobs.items() if not (self._killing and job.is_step)]):
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

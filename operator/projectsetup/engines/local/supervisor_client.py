"""The operator's end of the line to its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections import deque
from itertools import count
from pathlib import Path
from typing import Final

from projectsetup.engines.local.job import Job
from projectsetup.engines.local.supervisor import protocol

START_LIMIT: Final = 30.0
END_LIMIT: Final = 10.0
KILL_LIMIT: Final = 1.0
MOST_UNANSWERED: Final = 5
"""After so many beats without an answer the supervisor counts as frozen, and is killed."""

_SOURCES: Final = str(Path(__file__).resolve().parents[2])
_MODULE: Final = "projectsetup.engines.local.supervisor"


class SupervisorRefused(Exception):
    """The supervisor could not be started; the message says why in one line."""


class SupervisorLink:
    """One supervisor, from its start to its end.

    `lost` is set when it ends, wanted or not. `directory` is its own; `leftovers` are the numbers of processes and
    directories of dead operators that it found at its start. `confines`: its steps are kept from what is not theirs.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self._process = process
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._jobs: dict[int, Job] = {}
        self._ids = count(1)
        self._unsent: deque[tuple[protocol.Message, tuple[int, ...]]] = deque()
        self._unanswered = 0
        self._beating: asyncio.TimerHandle | None = None
        self._first_word: asyncio.Future[protocol.Message] = self._loop.create_future()
        self._killed = asyncio.Event()
        self.lost = asyncio.Event()
        self.directory = Path()
        self.leftovers = (0, 0)
        self.confines = False
        self._loop.add_reader(channel, self._receive)

    @classmethod
    async def start(cls, root: Path) -> SupervisorLink:
        """Start a supervisor, which ends what dead operators have left below `root`. Raises SupervisorRefused."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-s", "-P", "-X", "utf8", "-m", _MODULE, str(theirs.fileno()), str(root)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    env={"PYTHONPATH": _SOURCES},
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except OSError as exc:
            ours.close()
            raise SupervisorRefused(f"cannot start the supervisor: {exc.strerror}") from exc
        link = cls(process, ours)
        try:
            await link._greet()
        except BaseException:
            link._kill()
            await process.wait()
            raise
        return link

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self._process.pid

    def run(self, command: int, output: int, *, last: bool) -> Job:
        """Start a step; the two file descriptors are those of its command and of the pipe it prints to.

        With `last`, the process that reads the command runs no other step.
        """
        return self._begin({"op": "run", "last": last}, (command, output))

    def remove(self, name: str) -> Job:
        """Remove one directory of the supervisor's own."""
        return self._begin({"op": "remove", "name": name}, ())

    async def kill_all(self) -> None:
        """End all steps at once. When the supervisor does not do so, it is killed, and they with it."""
        self._killed.clear()
        self._post({"op": "kill"})
        with contextlib.suppress(TimeoutError):
            if not self.lost.is_set():
                await asyncio.wait_for(self._killed.wait(), KILL_LIMIT)
                return
        jobs = list(self._jobs.values())
        self._kill()
        await asyncio.gather(*(job.end() for job in jobs))

    async def close(self) -> None:
        """Let the supervisor end everything and itself."""
        self._lose()
        with contextlib.suppress(TimeoutError):  # it goes on by itself, however long a removal takes
            await asyncio.wait_for(self._process.wait(), END_LIMIT)

    async def ended(self) -> None:
        """Returns when a lost supervisor is no more, so that another can clear away what it has left."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), END_LIMIT)
            return
        self._kill()
        await self._process.wait()

    async def _greet(self) -> None:
        try:
            word = await asyncio.wait_for(self._first_word, START_LIMIT)
        except TimeoutError as exc:
            raise SupervisorRefused(f"the supervisor was not ready within {START_LIMIT:.0f} s") from exc
        if word["op"] != "ready":
            raise SupervisorRefused(f"the supervisor cannot work: {word['error']}")
        self.directory = Path(word["directory"])
        self.leftovers = (word["killed"], word["abandoned"])
        self.confines = word["landlock"] > 0
        self._beat()

    def _begin(self, message: protocol.Message, fds: tuple[int, ...]) -> Job:
        job = Job(next(self._ids), lambda job_id: self._post({"op": "stop", "id": job_id}))
        try:
            self._post({**message, "id": job.id}, (*fds, job.result.writing))
        except OSError:
            job.result.close()
            raise
        job.result.handed_over()
        if self.lost.is_set():
            job.over(lost=True)
        else:
            self._jobs[job.id] = job
        return job

    def _beat(self) -> None:
        if self._unanswered >= MOST_UNANSWERED:
            self._kill()
            return
        self._unanswered += 1
        self._post({"op": "beat"})
        self._beating = self._loop.call_later(protocol.HEARTBEAT_INTERVAL, self._beat)

    def _post(self, message: protocol.Message, fds: tuple[int, ...] = ()) -> None:
        """Send a message now, or as soon as there is room; the file descriptors may be closed after the call."""
        if self.lost.is_set():
            return
        self._unsent.append((message, tuple(os.dup(fd) for fd in fds)))
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                message, fds = self._unsent[0]
                protocol.send(self._channel, message, fds)
                self._unsent.popleft()
                _close(fds)
        except BlockingIOError:
            self._loop.add_writer(self._channel, self._flush)
        except OSError:
            self._lose()
        else:
            self._loop.remove_writer(self._channel)

    def _receive(self) -> None:
        try:
            received = protocol.receive(self._channel)
        except BlockingIOError:
            return
        if received is None:
            self._lose()
            return
        message, _ = received
        match message["op"]:
            case "beat":
                self._unanswered = 0
            case "ended":
                job = self._jobs.pop(message["id"], None)
                if job is not None:
                    job.over(lost=False)
            case "killed":
                self._killed.set()
            case _ if not self._first_word.done():
                self._first_word.set_result(message)

    def _kill(self) -> None:
        """For a supervisor that does not answer; one that is ending by itself is left to do so."""
        self._lose()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _lose(self) -> None:
        if self.lost.is_set():
            return
        self.lost.set()
        if self._beating is not None:
            self._beating.cancel()
        self._loop.remove_reader(self._channel)
        self._loop.remove_writer(self._channel)
        self._channel.close()
        if not self._first_word.done():
            self._first_word.set_result({"op": "refused", "error": "it ended at once"})
        while self._unsent:
            _close(self._unsent.popleft()[1])
        while self._jobs:
            self._jobs.popitem()[1].over(lost=True)


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)

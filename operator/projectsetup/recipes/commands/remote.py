"""A remote repository: whether it has our commit, and pushing to it."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.diagnosis import HttpTrace, SshLog, Transcript, diagnose
from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.commands.processes import ERROR_BYTES, PLAIN, Command, CommandFailed, Consumer, run_pipeline

if TYPE_CHECKING:
    from projectsetup.recipes.commands.repositories import FreshRepository

LISTED_BYTES = 32 * 1024 * 1024
"""Limit on the list of branches and tags of a remote: half a million of them."""

_LINE_BYTES = 4096
_MEMORY = 1024 * 1024 * 1024
"""Memory limit for git while it lists: it keeps the whole list."""


class RemoteState(Enum):
    """Whether a remote needs a push."""

    EMPTY = "push"
    PUSHED = "nothing"


@dataclass(frozen=True, slots=True)
class Remote:
    """A fresh repository and the URL to push it to."""

    title: str
    fresh: FreshRepository
    url: str

    def __post_init__(self) -> None:
        if self.url.startswith("-"):
            raise CommandError(f"{self.title}: its URL begins with '-'")

    @property
    def commit(self) -> str:
        """The commit to push."""
        return self.fresh.commit

    def state(self) -> RemoteState:
        """Whether the remote needs a push. Raises CommandError if it has other history or refuses, TemporaryError if it
        is unreachable.
        """
        listing = _Listing(self.title, self.fresh.reference)
        try:
            self._git("ls-remote", "--quiet", "--heads", "--tags", "--", self.url, consume=listing.take, memory=_MEMORY)
        except RemoteFailed as exc:
            raise diagnose(self.title, exc.transcript) from exc
        if listing.tip == self.commit:
            return RemoteState.PUSHED
        if listing.first is not None:
            commit, name = listing.first
            raise CommandError(
                f"{self.title}: it has other history, which is never overwritten ({name} is at {commit[:12]})"
            )
        return RemoteState.EMPTY

    def push(self) -> None:
        """Push, never by force. Raises like `state`."""
        refspec = f"{self.fresh.reference}:{self.fresh.reference}"
        pushed = bytearray()
        try:
            self._git(
                *("push", "--quiet", "--porcelain", "--no-recurse-submodules", "--", self.url, refspec),
                consume=lambda piece: pushed.extend(piece[: ERROR_BYTES - len(pushed)]),
            )
        except RemoteFailed as exc:
            said = pushed.decode("utf-8", "replace")
            _log(b"".join(line for line in pushed.splitlines(keepends=True) if line.startswith(b"!")))
            if self.state() is not RemoteState.PUSHED:
                raise diagnose(self.title, replace(exc.transcript, pushed=said)) from exc

    def _git(self, *arguments: str, consume: Consumer, memory: int | None = None) -> None:
        """Raises RemoteFailed. The output of git and ssh goes to the log of the step in any case."""
        http, ssh, folder = HttpTrace(), SshLog(), self.fresh.directory
        trace, log = folder / "http-trace", folder / "ssh-log"
        ssh_command = f"{os.environ.get('GIT_SSH_COMMAND', 'ssh')} -v -E {shlex.quote(str(log))}"
        tracing = {"GIT_TRACE_CURL": str(trace), "GIT_TRACE_CURL_NO_DATA": "1", "GIT_TRACE_REDACT": "1"}
        own = {"GIT_DIR": str(folder), "GIT_SSH_COMMAND": ssh_command}
        command = Command(
            ["git", *arguments], {**os.environ, **PLAIN, **tracing, **own}, memory=memory, echo_errors=True
        )
        channels = {trace: http.take, log: ssh.take}
        try:
            run_pipeline(command, folder=folder, consume=consume, channels=channels)
        except CommandFailed as exc:
            transcript = Transcript(self.url, str(exc), "", http.response, tuple(ssh.lines))
            raise RemoteFailed(transcript) from exc
        finally:
            complaints = Transcript(ssh=tuple(ssh.lines)).ssh_complaints
            _log("".join(f"{line}\n" for line in complaints).encode())


class RemoteFailed(Exception):
    """git failed against a remote."""

    def __init__(self, transcript: Transcript) -> None:
        """Keep the transcript for the diagnosis."""
        super().__init__(transcript.errors)
        self.transcript = transcript


def _log(piece: bytes) -> None:
    """Write output of git and ssh to the log of the step unchanged."""
    sys.stderr.buffer.write(piece)
    sys.stderr.buffer.flush()


@dataclass(slots=True)
class _Listing:
    """Parses `git ls-remote`: keeps our branch and the first reference."""

    title: str
    reference: str
    tip: str | None = None
    first: tuple[str, str] | None = None
    _read: int = 0
    _begun: bytes = field(default=b"", repr=False)

    def take(self, piece: bytes) -> None:
        """Take the next piece. Raises CommandError if the list is too long."""
        self._read += len(piece)
        *lines, self._begun = (self._begun + piece).split(b"\n")
        if self._read > LISTED_BYTES or len(self._begun) > _LINE_BYTES:
            raise CommandError(f"{self.title}: it has too many branches and tags")
        for line in lines:
            commit, _, name = line.decode("utf-8", "replace").partition("\t")
            if name == self.reference:
                self.tip = commit
            self.first = self.first or (commit, name)

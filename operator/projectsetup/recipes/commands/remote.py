"""What a remote repository holds, compared with the commit that is to be its branch."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.diagnosis import Conversation, HttpTrace, SshLog, trouble_with
from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.commands.processes import ERROR_BYTES, PLAIN, Command, Consumer, Failed, run_pipeline

if TYPE_CHECKING:
    from projectsetup.recipes.commands.repositories import FreshRepository

LISTED_BYTES = 32 * 1024 * 1024
"""The most that a remote may tell of its branches and tags: half a million of them."""

_LINE_BYTES = 4096
_MEMORY = 1024 * 1024 * 1024
"""What git may allocate for that: it keeps all of it."""


class RemoteState(Enum):
    """What is to be done about a remote."""

    EMPTY = "push"
    PUSHED = "nothing"


@dataclass(frozen=True, slots=True)
class Remote:
    """A fresh repository and where it is to be pushed."""

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

    def look(self) -> RemoteState:
        """Raises CommandError when it holds other history or refuses, TemporaryError when it is out of reach."""
        listing = _Listing(self.title, self.fresh.reference)
        try:
            self._git("ls-remote", "--quiet", "--heads", "--tags", "--", self.url, consume=listing.take, memory=_MEMORY)
        except RemoteFailed as exc:
            raise trouble_with(self.title, exc.conversation) from exc
        if listing.tip == self.commit:
            return RemoteState.PUSHED
        if listing.first is not None:
            commit, name = listing.first
            raise CommandError(
                f"{self.title}: it holds other history, which is never overwritten ({name} is at {commit[:12]})"
            )
        return RemoteState.EMPTY

    def push(self) -> None:
        """Pushes, never by force. Raises like `look`."""
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
            if self.look() is not RemoteState.PUSHED:
                raise trouble_with(self.title, replace(exc.conversation, pushed=said)) from exc

    def _git(self, *arguments: str, consume: Consumer, memory: int | None = None) -> None:
        """Raises RemoteFailed. What git and ssh print is in the log of the step then, whatever they end with."""
        http, ssh, folder = HttpTrace(), SshLog(), self.fresh.directory
        trace, log = folder / "http-trace", folder / "ssh-log"
        ssh_command = f"{os.environ.get('GIT_SSH_COMMAND', 'ssh')} -v -E {shlex.quote(str(log))}"
        tracing = {"GIT_TRACE_CURL": str(trace), "GIT_TRACE_CURL_NO_DATA": "1", "GIT_TRACE_REDACT": "1"}
        own = {"GIT_DIR": str(folder), "GIT_SSH_COMMAND": ssh_command}
        command = Command(["git", *arguments], {**os.environ, **PLAIN, **tracing, **own}, memory=memory, audible=True)
        channels = {trace: http.take, log: ssh.take}
        try:
            run_pipeline(command, folder=folder, consume=consume, channels=channels)
        except Failed as exc:
            conversation = Conversation(self.url, str(exc), "", http.answer, tuple(ssh.lines))
            raise RemoteFailed(conversation) from exc
        finally:
            complaints = Conversation(ssh=tuple(ssh.lines)).ssh_complaints
            _log("".join(f"{line}\n" for line in complaints).encode())


class RemoteFailed(Exception):
    """git failed while it talked to a remote."""

    def __init__(self, conversation: Conversation) -> None:
        """Keep what is known of it."""
        super().__init__(conversation.errors)
        self.conversation = conversation


def _log(piece: bytes) -> None:
    """What git and ssh print belongs in the log of the step as it is."""
    sys.stderr.buffer.write(piece)
    sys.stderr.buffer.flush()


@dataclass(slots=True)
class _Listing:
    """What `git ls-remote` prints, of which two lines are kept."""

    title: str
    reference: str
    tip: str | None = None
    first: tuple[str, str] | None = None
    _read: int = 0
    _begun: bytes = field(default=b"", repr=False)

    def take(self, piece: bytes) -> None:
        """The next piece. Raises CommandError when it is too much."""
        self._read += len(piece)
        *lines, self._begun = (self._begun + piece).split(b"\n")
        if self._read > LISTED_BYTES or len(self._begun) > _LINE_BYTES:
            raise CommandError(f"{self.title}: it lists more branches and tags than can be looked at")
        for line in lines:
            commit, _, name = line.decode("utf-8", "replace").partition("\t")
            if name == self.reference:
                self.tip = commit
            self.first = self.first or (commit, name)

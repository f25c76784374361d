"""What git, curl and ssh report about a conversation with a remote: the facts that `trouble` decides from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_BYTES = 4096
_SSH_LINES = 500
_REQUEST = re.compile(rb"=> Send header: ([A-Z]+) ")
_ANSWER = re.compile(rb"<= Recv header: HTTP/[0-9.]+ ([2-9][0-9][0-9])\b")
_SSH_EXIT = re.compile(r"debug1: Exit status ([0-9]+)")
_SSH_SIGNED_IN = "Authenticated to "
_SSH_CHATTER = ("debug", "OpenSSH_", _SSH_SIGNED_IN, "Transferred: ", "Bytes per second: ")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status, of the proxy where the request was CONNECT."""

    status: int
    of_proxy: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """`errors` is what git, and with ssh the remote, printed on standard error; `pushed` is `git push --porcelain`.

    `answer` is the answer to the last HTTP request, if it got one. `ssh` is the log of `ssh -v`, if there was any:
    the remote cannot write to it.
    """

    url: str = ""
    errors: str = ""
    pushed: str = ""
    answer: Answer | None = None
    ssh: tuple[str, ...] = ()

    @property
    def ssh_complaints(self) -> tuple[str, ...]:
        """What ssh prints without `-v`."""
        return tuple(line for line in self.ssh if not line.startswith(_SSH_CHATTER))

    @property
    def signed_in(self) -> bool:
        """Whether ssh got as far as running a command on the remote."""
        return any(line.startswith(_SSH_SIGNED_IN) for line in self.ssh)

    @property
    def ssh_exit_code(self) -> int | None:
        """The exit code of that command; None when the connection was lost before its end."""
        matches = (_SSH_EXIT.match(line) for line in self.ssh)
        return next((int(match[1]) for match in matches if match), None)


@dataclass(slots=True)
class Lines:
    """Cuts pieces into lines, of which no more than 4 KiB is kept."""

    _begun: bytes = field(default=b"", repr=False)

    def of(self, piece: bytes) -> Iterator[bytes]:
        """The lines that end in this piece."""
        *lines, begun = (self._begun + piece).split(b"\n")
        self._begun = begun[:_LINE_BYTES]
        yield from lines


@dataclass(slots=True)
class HttpTrace:
    """Reads what git writes to GIT_TRACE_CURL, and keeps nothing of it but the last status."""

    answer: Answer | None = None
    _connecting: bool = False
    _lines: Lines = field(default_factory=Lines)

    def take(self, piece: bytes) -> None:
        """The next piece."""
        for line in self._lines.of(piece):
            if request := _REQUEST.search(line):
                self._connecting, self.answer = request[1] == b"CONNECT", None
            elif answer := _ANSWER.search(line):
                self.answer = Answer(int(answer[1]), of_proxy=self._connecting)


@dataclass(slots=True)
class SshLog:
    """Reads what ssh writes with `-E`: the first lines, and always the last."""

    lines: list[str] = field(default_factory=list)
    _lines: Lines = field(default_factory=Lines)

    def take(self, piece: bytes) -> None:
        """The next piece."""
        for line in self._lines.of(piece):
            if len(self.lines) == _SSH_LINES:
                self.lines.pop()
            self.lines.append(line.decode("utf-8", "replace").rstrip())

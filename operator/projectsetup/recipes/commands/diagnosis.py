"""Why git failed against a remote repository, and whether a retry may help."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from projectsetup.recipes.commands.errors import CommandError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


_FIRST_REFUSAL, _FIRST_FAULT_OF_SERVER = 300, 500
_MAY_PASS = frozenset({408, 421, 425, 429})
_WILL_NOT_PASS = frozenset({501, 505})

_SETTLED = re.compile(
    r"""
    hash\ algorithm | mismatched\ algorithms | transport\ \S+\ not\ allowed | dubious\ ownership
    | does\ not\ appear\ to\ be\ a\ git\ repository | is\ this\ a\ git\ repository | unable\ to\ find\ remote\ helper
    | authentication\ failed | could\ not\ read\ (?:username|password) | terminal\ prompts\ disabled
    | repository\ (?:\S+\ )?not\ found | does\ not\ exist | bad\ line\ length\ character
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HTTP_FAILURE = re.compile(r"unable to access|RPC failed;|HTTP request failed", re.IGNORECASE)
_HTTP_SETTLED = re.compile(
    r"certificate|ca cert|unknown ca|alert (?:protocol version|access denied)|unsupported protocol|redirects followed"
    r"|malformed|illegal format",
    re.IGNORECASE,
)
_SSH_SETTLED = re.compile(
    r"permission denied|host key verification failed|too many authentication failures|unable to negotiate"
    r"|no matching .* found|bad (?:owner|configuration)|command-line: line",
    re.IGNORECASE,
)
_SSH_NOISE = re.compile(
    r"@|IT IS POSSIBLE|Someone could be|It is also possible|The fingerprint for|SHA256:|Please contact|Add correct host"
    r"|Offending |remove with:|ssh-keygen |Warning: Permanently added|Connection to .* closed\.?$"
)
_REJECTION = re.compile(r"^!\t[^\t]*\t\[(remote rejected|remote failure|rejected)\] \((.*)\)$", re.MULTILINE)
_REJECTION_MAY_PASS = re.compile(
    r"internal (?:server )?error|unavailable|time(?:d |-)?out|try again|too many|overload"
    r"|failed to (?:update ref|lock|write)|(?:cannot|unable to) (?:lock|migrate)|unpack(?:er)? (?:error|failed)",
    re.IGNORECASE,
)
_PASSING = re.compile(
    r"""
    hung\ up\ unexpectedly | unexpected\ disconnect | early\ eof | expected\ flush | broken\ pipe | connection\ reset
    | no\ space\ left | quota\ exceeded | temporarily\ unavailable | cannot\ fork | input/output\ error
    | internal\ (?:server\ )?error | service\ unavailable | internal\ api\ unreachable | not\ available\ at\ this\ time
    | timed\ out | try\ again
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NOISE = re.compile(
    r"^(?:please make sure|and the repository exists|hint: |warning: |fatal: could not read from remote repository)",
    re.IGNORECASE,
)
_FAILED_TO_PUSH = re.compile(r"^error: failed to push some refs to ")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_REMOTE = "remote:"
_SHORT = 5
"""Names of so many letters may be words: `https`, `error`."""

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class _Finding:
    """Why it failed, and whether that may pass."""

    words: str
    may_pass: bool


def trouble_with(title: str, conversation: Conversation) -> CommandError:
    """The error to raise; `title` says which repository it was about.

    A cause counts more than what follows from it. What is unknown needs a person.
    """
    found = next((finding for ask in _WITNESSES if (finding := ask(conversation))), None) or _unknown(conversation)
    error = TemporaryError if found.may_pass else CommandError
    return error(f"{title}: {found.words if len(found.words) <= _LONGEST else found.words[: _LONGEST - 1] + '…'}")


def _rejection(conversation: Conversation) -> _Finding | None:
    match = _REJECTION.search(conversation.pushed)
    if match is None:
        return None
    kind, reason = match[1], match[2]
    passing = kind == "remote failure" or bool(_REJECTION_MAY_PASS.search(_QUOTED.sub("", reason)))
    return _Finding(f"[{kind}] ({reason})", may_pass=passing and kind != "rejected")


def _settled(conversation: Conversation) -> _Finding | None:
    telling = _telling(conversation, _SETTLED)
    return _Finding(telling, may_pass=False) if telling else None


def _http_status(conversation: Conversation) -> _Finding | None:
    answer = conversation.answer
    if answer is None or answer.status < _FIRST_REFUSAL:
        return None
    passing = answer.status in _MAY_PASS or (
        answer.status >= _FIRST_FAULT_OF_SERVER and answer.status not in _WILL_NOT_PASS
    )
    known = _telling(conversation, _HTTP_FAILURE) or next(_own_lines(conversation), "")
    who = "the proxy" if answer.of_proxy else "the server"
    words = f"{who} answered with HTTP status {answer.status}" + (f": {known}" if known else "")
    return _Finding(words, may_pass=passing)


def _http_failure(conversation: Conversation) -> _Finding | None:
    telling = _telling(conversation, _HTTP_FAILURE)
    if telling is None or not conversation.url.lower().startswith("http"):
        return None
    return _Finding(telling, may_pass=not _HTTP_SETTLED.search(_without_names(telling, conversation.url)))


def _ssh(conversation: Conversation) -> _Finding | None:
    if not conversation.ssh or conversation.ssh_exit_code is not None:
        return None
    complaints = map(_printable, conversation.ssh_complaints)
    telling = [line for line in complaints if not _SSH_NOISE.match(line)]
    words = "; ".join(telling) or "ssh lost the connection"
    refused = any(_SSH_SETTLED.search(_without_names(line, conversation.url)) for line in telling)
    return _Finding(words, may_pass=conversation.signed_in or not refused)


def _passing(conversation: Conversation) -> _Finding | None:
    telling = _telling(conversation, _PASSING)
    return _Finding(telling, may_pass=True) if telling else None


def _unknown(conversation: Conversation) -> _Finding:
    return _Finding(next(_own_lines(conversation), "git failed and did not say why"), may_pass=False)


_WITNESSES: tuple[Callable[[Conversation], _Finding | None], ...] = (
    _rejection,
    _settled,
    _http_status,
    _http_failure,
    _ssh,
    _passing,
)
"""A cause stands before what may be only its consequence."""


def _lines(conversation: Conversation) -> Iterator[str]:
    for line in re.split(r"[\r\n]", conversation.errors):
        if words := _printable(line):
            yield words


def _own_lines(conversation: Conversation) -> Iterator[str]:
    for line in _lines(conversation):
        if not line.startswith(_REMOTE) and not _NOISE.match(line) and not _FAILED_TO_PUSH.match(line):
            yield line


def _telling(conversation: Conversation, pattern: re.Pattern[str]) -> str | None:
    lines = _own_lines(conversation)
    return next((line for line in lines if pattern.search(_without_names(line, conversation.url))), None)


def _without_names(line: str, url: str) -> str:
    """The line without what the user or the remote chose: addresses, host names, paths, and whatever is in quotes."""
    text = _ADDRESS.sub("…", _QUOTED.sub("…", line))
    for name in _names_in(url):
        text = text.replace(name, "…")
    return text


def _names_in(url: str) -> list[str]:
    """Host and path, as programs repeat them."""
    try:
        parts = urlsplit(url)
        path = parts.path if parts.scheme else url.rpartition(":")[2]
        names = {url, parts.hostname or "", *url.partition(":")[0].rpartition("@")[2:]}
    except ValueError:
        return [url]
    names |= {path, path.lstrip("/"), path.removesuffix(".git"), path.strip("/").removesuffix(".git")}
    return sorted((name for name in names if len(name) > _SHORT), key=len, reverse=True)


def _printable(line: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in line).split())

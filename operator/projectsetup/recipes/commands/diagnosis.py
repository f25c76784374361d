"""Why git failed against a remote repository, and whether a retry may help.

Facts decide first: the status of the push, the HTTP status, how far ssh got. Without a fact, the words of git and ssh
decide. Addresses, repository names, quoted text and the output of the remote's hooks never do.
"""

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
_RESPONSE = re.compile(rb"<= Recv header: HTTP/[0-9.]+ ([2-9][0-9][0-9])\b")
_SSH_EXIT = re.compile(r"debug1: Exit status ([0-9]+)")
_SSH_SIGNED_IN = "Authenticated to "
_SSH_CHATTER = ("debug", "OpenSSH_", _SSH_SIGNED_IN, "Transferred: ", "Bytes per second: ")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP status; from the proxy if the request was CONNECT."""

    status: int
    from_proxy: bool = False


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a git command and a remote said to each other.

    `errors`: standard error of git and, over ssh, of the remote. `pushed`: output of `git push --porcelain`.
    `response`: to the last HTTP request, if there was one. `ssh`: the log of `ssh -v`, which the remote cannot write.
    """

    url: str = ""
    errors: str = ""
    pushed: str = ""
    response: HttpResponse | None = None
    ssh: tuple[str, ...] = ()

    @property
    def ssh_complaints(self) -> tuple[str, ...]:
        """What ssh prints without `-v`."""
        return tuple(line for line in self.ssh if not line.startswith(_SSH_CHATTER))

    @property
    def signed_in(self) -> bool:
        """Whether ssh authenticated, so that the command ran on the remote."""
        return any(line.startswith(_SSH_SIGNED_IN) for line in self.ssh)

    @property
    def ssh_exit_code(self) -> int | None:
        """Exit code of that command; None if the connection was lost before it ended."""
        matches = (_SSH_EXIT.match(line) for line in self.ssh)
        return next((int(match[1]) for match in matches if match), None)


@dataclass(slots=True)
class Lines:
    """Splits pieces into lines and keeps at most 4 KiB of each."""

    _begun: bytes = field(default=b"", repr=False)

    def of(self, piece: bytes) -> Iterator[bytes]:
        """The lines that this piece completes."""
        *lines, begun = (self._begun + piece).split(b"\n")
        self._begun = begun[:_LINE_BYTES]
        yield from lines


@dataclass(slots=True)
class HttpTrace:
    """Parses GIT_TRACE_CURL and keeps only the last status."""

    response: HttpResponse | None = None
    _connecting: bool = False
    _lines: Lines = field(default_factory=Lines)

    def take(self, piece: bytes) -> None:
        """Take the next piece."""
        for line in self._lines.of(piece):
            if request := _REQUEST.search(line):
                self._connecting, self.response = request[1] == b"CONNECT", None
            elif response := _RESPONSE.search(line):
                self.response = HttpResponse(int(response[1]), from_proxy=self._connecting)


@dataclass(slots=True)
class SshLog:
    """Keeps the log of `ssh -E`: the first lines and the last one."""

    lines: list[str] = field(default_factory=list)
    _lines: Lines = field(default_factory=Lines)

    def take(self, piece: bytes) -> None:
        """Take the next piece."""
        for line in self._lines.of(piece):
            if len(self.lines) == _SSH_LINES:
                self.lines.pop()
            self.lines.append(line.decode("utf-8", "replace").rstrip())


_FIRST_REFUSAL, _FIRST_SERVER_ERROR = 300, 500
_RETRYABLE_STATUSES = frozenset({408, 421, 425, 429})
_PERMANENT_STATUSES = frozenset({501, 505})

_PERMANENT = re.compile(
    r"""
    hash\ algorithm | mismatched\ algorithms | transport\ \S+\ not\ allowed | dubious\ ownership
    | does\ not\ appear\ to\ be\ a\ git\ repository | is\ this\ a\ git\ repository | unable\ to\ find\ remote\ helper
    | authentication\ failed | could\ not\ read\ (?:username|password) | terminal\ prompts\ disabled
    | repository\ (?:\S+\ )?not\ found | does\ not\ exist | bad\ line\ length\ character
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HTTP_FAILURE = re.compile(r"unable to access|RPC failed;|HTTP request failed", re.IGNORECASE)
_HTTP_PERMANENT = re.compile(
    r"certificate|ca cert|unknown ca|alert (?:protocol version|access denied)|unsupported protocol|redirects followed"
    r"|malformed|illegal format",
    re.IGNORECASE,
)
_SSH_PERMANENT = re.compile(
    r"permission denied|host key verification failed|too many authentication failures|unable to negotiate"
    r"|no matching .* found|bad (?:owner|configuration)|command-line: line",
    re.IGNORECASE,
)
_SSH_NOISE = re.compile(
    r"@|IT IS POSSIBLE|Someone could be|It is also possible|The fingerprint for|SHA256:|Please contact|Add correct host"
    r"|Offending |remove with:|ssh-keygen |Warning: Permanently added|Connection to .* closed\.?$"
)
_REJECTION = re.compile(r"^!\t[^\t]*\t\[(remote rejected|remote failure|rejected)\] \((.*)\)$", re.MULTILINE)
_RETRYABLE_REJECTION = re.compile(
    r"internal (?:server )?error|unavailable|time(?:d |-)?out|try again|too many|overload"
    r"|failed to (?:update ref|lock|write)|(?:cannot|unable to) (?:lock|migrate)|unpack(?:er)? (?:error|failed)",
    re.IGNORECASE,
)
_RETRYABLE = re.compile(
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
"""Names of up to this many letters may be ordinary words, such as `https` or `error`."""

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class _Finding:
    """Why it failed, and whether a retry may help."""

    words: str
    retryable: bool


def diagnose(title: str, transcript: Transcript) -> CommandError:
    """The error to raise; `title` names the repository. An unknown failure is not retryable."""
    found = next((finding for check in _CHECKS if (finding := check(transcript))), None) or _unknown(transcript)
    error = TemporaryError if found.retryable else CommandError
    return error(f"{title}: {found.words if len(found.words) <= _LONGEST else found.words[: _LONGEST - 1] + '…'}")


def _rejection(transcript: Transcript) -> _Finding | None:
    match = _REJECTION.search(transcript.pushed)
    if match is None:
        return None
    kind, reason = match[1], match[2]
    retryable = kind == "remote failure" or bool(_RETRYABLE_REJECTION.search(_QUOTED.sub("", reason)))
    return _Finding(f"[{kind}] ({reason})", retryable=retryable and kind != "rejected")


def _permanent(transcript: Transcript) -> _Finding | None:
    line = _matching(transcript, _PERMANENT)
    return _Finding(line, retryable=False) if line else None


def _http_status(transcript: Transcript) -> _Finding | None:
    response = transcript.response
    if response is None or response.status < _FIRST_REFUSAL:
        return None
    retryable = response.status in _RETRYABLE_STATUSES or (
        response.status >= _FIRST_SERVER_ERROR and response.status not in _PERMANENT_STATUSES
    )
    known = _matching(transcript, _HTTP_FAILURE) or next(_own_lines(transcript), "")
    who = "the proxy" if response.from_proxy else "the server"
    words = f"{who} answered with HTTP status {response.status}" + (f": {known}" if known else "")
    return _Finding(words, retryable=retryable)


def _http_failure(transcript: Transcript) -> _Finding | None:
    line = _matching(transcript, _HTTP_FAILURE)
    if line is None or not transcript.url.lower().startswith("http"):
        return None
    return _Finding(line, retryable=not _HTTP_PERMANENT.search(_without_names(line, transcript.url)))


def _ssh(transcript: Transcript) -> _Finding | None:
    if not transcript.ssh or transcript.ssh_exit_code is not None:
        return None
    printed = map(_printable, transcript.ssh_complaints)
    complaints = [line for line in printed if not _SSH_NOISE.match(line)]
    words = "; ".join(complaints) or "ssh lost the connection"
    refused = any(_SSH_PERMANENT.search(_without_names(line, transcript.url)) for line in complaints)
    return _Finding(words, retryable=transcript.signed_in or not refused)


def _transient(transcript: Transcript) -> _Finding | None:
    line = _matching(transcript, _RETRYABLE)
    return _Finding(line, retryable=True) if line else None


def _unknown(transcript: Transcript) -> _Finding:
    return _Finding(next(_own_lines(transcript), "git failed without an error message"), retryable=False)


_CHECKS: tuple[Callable[[Transcript], _Finding | None], ...] = (
    _rejection,
    _permanent,
    _http_status,
    _http_failure,
    _ssh,
    _transient,
)
"""In this order: a cause comes before its possible consequences."""


def _lines(transcript: Transcript) -> Iterator[str]:
    for line in re.split(r"[\r\n]", transcript.errors):
        if words := _printable(line):
            yield words


def _own_lines(transcript: Transcript) -> Iterator[str]:
    for line in _lines(transcript):
        if not line.startswith(_REMOTE) and not _NOISE.match(line) and not _FAILED_TO_PUSH.match(line):
            yield line


def _matching(transcript: Transcript, pattern: re.Pattern[str]) -> str | None:
    lines = _own_lines(transcript)
    return next((line for line in lines if pattern.search(_without_names(line, transcript.url))), None)


def _without_names(line: str, url: str) -> str:
    """The line without what users or the remote chose: addresses, host names, paths and quoted text."""
    text = _ADDRESS.sub("…", _QUOTED.sub("…", line))
    for name in _names_in(url):
        text = text.replace(name, "…")
    return text


def _names_in(url: str) -> list[str]:
    """Host and path in the spellings that programs print."""
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

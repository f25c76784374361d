"""Removes secrets from everything that leaves a step: messages and log lines."""

from __future__ import annotations

import base64
import html
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
_WINDOW: Final = 8
_FRAGMENT: Final = 2 * _WINDOW - 1
"""A run of this many letters and digits is hidden anywhere: it contains a window at a multiple of _WINDOW."""

_LOOKBACK: Final = 2048
"""Bytes at the end of a text that are searched for the beginning of a secret."""

_CONTINUES: Final = range(0x80, 0xC0)
"""UTF-8 continuation bytes."""

_FRAME: Final = "-----"
"""Starts the lines around the base64 of a key, which are not secret."""

_SHAPES: Final = (
    (
        "private key-----",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
        MASK,
    ),
    ("://", r"(://[^\s/@:]*):[^\s/]*@", rf"\1:{MASK}@"),
    ("://", r"(?i)(https?://)[^\s/@:]{16,}@", rf"\1{MASK}@"),
    ("authorization", r"(?i)(authorization[\"']?\s*[:=]).*", rf"\1 {MASK}"),
    ("bearer ", r"\b(?i:(bearer)) +(?=[^\s]*[0-9A-Z=])[A-Za-z0-9._~+/-]{8,}=*", rf"\1 {MASK}"),
    ("basic ", r"\b(?i:(basic)) +(?=[^\s]*[0-9A-Z=])[A-Za-z0-9._~+/-]{8,}=*", rf"\1 {MASK}"),
    ("=", r"(?i)(password|passwd|secret|token|api_?key)=[^\s&;,\"']+", rf"\1={MASK}"),
    ("gh", r"\bgh[opusr]_[A-Za-z0-9]{16,}", MASK),
    ("github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{16,}", MASK),
    ("gl", r"\bgl[a-z]{2,4}-[A-Za-z0-9_-]{16,}", MASK),
    ("akia", r"\bAKIA[A-Z0-9]{16}\b", MASK),
    ("asia", r"\bASIA[A-Z0-9]{16}\b", MASK),
    ("xox", r"\bxox[a-z]-[A-Za-z0-9-]{10,}", MASK),
    ("npm_", r"\bnpm_[A-Za-z0-9]{20,}", MASK),
    ("pypi-", r"\bpypi-[A-Za-z0-9_-]{20,}", MASK),
    ("sk-", r"\bsk-[A-Za-z0-9_-]{20,}", MASK),
    ("eyj", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", MASK),
)
"""A lower-case clue that every such text contains; the shape of the secret; its replacement.

Each is fast on every text of bounded length, because the text comes from untrusted processes.
"""

_MIN_SECRET: Final = 4
"""Shorter values occur in any text by chance and are not treated as secrets."""

_MIN_ENCODED: Final = 8
_KEPT: Final = bytes(byte > 0x7F or chr(byte).isalnum() for byte in range(0x100))  # noqa: PLR2004  # beyond ASCII
_DROPPED: Final = bytes(byte for byte in range(0x100) if not _KEPT[byte])
_LOWER: Final = bytes(range(0x100)).lower()
_NEWLINE: Final = re.compile(rb"\n")
_ESCAPE: Final = re.compile(
    rb"[%\\&'0](?:"  # the first character makes the search fast
    rb"(?<=%)(?P<percent>[0-9A-Fa-f]{2})"
    rb"|(?<=\\)x(?P<byte>[0-9A-Fa-f]{2})|(?<=0)x(?P<number>[0-9A-Fa-f]{2})(?![0-9A-Za-z])[,;]?\s{0,8}"
    rb"|(?<=\\)(?P<utf16>u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})"
    rb"|(?<=\\)U(?P<code>00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4})"
    rb"|(?<=\\)(?P<octal>[0-3][0-7]{2})|(?<=\\)(?P<itself>[^0-9A-Za-z\s])"
    rb"|(?<=&)(?P<entity>#[0-9]{1,7};|#[xX][0-9A-Fa-f]{1,6};|(?:amp|lt|gt|quot|apos);)"
    rb"|(?<=')(?P<apostrophe>\\''|\"'\"')"  # how sh writes one between apostrophes
    rb")"
)
_ESCAPE_BEGINS: Final = (b"\\", b"%", b"&", b"0x", b"'\"'\"'")
_LAYERS: Final = 2
"""Nested layers of escapes that are resolved, such as JSON inside JSON."""


class Scrubber:
    """Replaces known secrets, in plain text and in common encodings, and everything that has the shape of a secret.

    A long form is recognized by any fragment of its letters and digits, so it may be wrapped, cut or spaced out. The
    cost does not depend on the number of forms: every eighth window of a text is looked up in the set of known windows.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets`: values to hide; each line of a multi-line value is hidden on its own."""
        known = {form for secret in secrets for form in _forms(secret)}
        self._windows = frozenset(window for form in known if _is_long(form) for window in _windows(_letters(form)))
        short = sorted((form for form in known if not _is_long(form)), key=len, reverse=True)
        self._short = re.compile(b"|".join(map(re.escape, short))) if short else None
        self._beginnings = {form[:length] for form in known for length in _cuts(form)}
        self._cut_here = {beginning[-_MIN_SECRET:] for beginning in self._beginnings}
        self._ends = {form[-length:] for form in known for length in _cuts(form[::-1])}
        self._longest_cut = max(map(len, self._beginnings | self._ends), default=0)
        self._shapes = [(clue, re.compile(shape), mask) for clue, shape, mask in _SHAPES]

    def scrub(self, text: str) -> str:
        """Replace every secret by `***`, including those that span lines."""
        if self._windows or self._short is not None:
            text = self._hide_known(text)
        lowered = text.lower()
        for clue, shape, mask in self._shapes:
            if clue in lowered:
                text = shape.sub(mask, text)
        return text

    def scrub_cut(self, text: str) -> str:
        """`scrub` a text that was cut at its ends, and hide partial secrets there."""
        raw = text.encode("utf-8", "surrogatepass")
        before = next((length for length in self._cut_lengths(raw) if raw[:length] in self._ends), 0)
        after = next((length for length in self._cut_lengths(raw) if raw[-length:] in self._beginnings), 0)
        spans = [(0, before), (len(raw) - after, len(raw))]
        return self.scrub(_masked(raw, [span for span in spans if span[0] < span[1]]))

    def unfinished(self, text: str) -> int:
        """How many characters at the end of this text may be the beginning of a secret."""
        raw = text[-_LOOKBACK:].encode("utf-8", "surrogatepass")
        length = 0
        if raw[-_MIN_SECRET:] in self._cut_here:
            length = next((length for length in self._cut_lengths(raw) if raw[-length:] in self._beginnings), 0)
        letters = _letters(raw)
        start = max(len(letters) - _WINDOW, 0)
        if _window(letters, start) in self._windows:
            start = self._start_of_fragment(letters, start)
            length = max(length, len(raw) - _letter_places(raw)[start])
        return len(raw[len(raw) - length :].decode("utf-8", "replace"))

    def _cut_lengths(self, raw: bytes) -> range:
        return range(min(self._longest_cut, len(raw)), _MIN_SECRET - 1, -1)

    def _hide_known(self, text: str) -> str:
        raw = text.encode("utf-8", "surrogatepass")
        spans = [view.in_text(*span) for view in _views(raw) for span in self._found(view.data)]
        return _masked(raw, spans) if spans else text

    def _found(self, data: bytes) -> Iterator[tuple[int, int]]:
        if self._short is not None:
            yield from (match.span() for match in self._short.finditer(data))
        letters = _letters(data)
        samples = memoryview(letters)[: len(letters) - len(letters) % _WINDOW].cast("Q")
        if not self._windows.isdisjoint(samples):
            places = _letter_places(data)
            known = (_WINDOW * number for number, window in enumerate(samples) if window in self._windows)
            for start, end in self._fragments(letters, known):
                yield places[start], places[end - 1] + 1

    def _fragments(self, letters: bytes, known: Iterable[int]) -> Iterator[tuple[int, int]]:
        """The longest spans around these known windows in which every window is known."""
        end = 0
        for at in known:
            if at + _WINDOW <= end:
                continue
            start = self._start_of_fragment(letters, at)
            end = at + _WINDOW
            while end < len(letters) and _window(letters, end + 1 - _WINDOW) in self._windows:
                end += 1
            if end - start >= _FRAGMENT:
                yield start, end

    def _start_of_fragment(self, letters: bytes, start: int) -> int:
        while start > 0 and _window(letters, start - 1) in self._windows:
            start -= 1
        return start


def _forms(secret: str) -> Iterator[bytes]:
    lines = secret.splitlines()
    if len(lines) > 1:
        lines = [line for line in lines if not line.startswith(_FRAME)]
        yield from (form for form in ["".join(lines).encode("utf-8", "surrogatepass")] if _is_long(form))
    for line in lines:
        yield from _encodings(line)


def _is_long(form: bytes) -> bool:
    return len(_letters(form)) >= _FRAGMENT


def _windows(letters: bytes) -> list[int]:
    return [_window(letters, start) for start in range(len(letters) - _WINDOW + 1)]


def _window(letters: bytes, start: int) -> int:
    return int.from_bytes(letters[start : start + _WINDOW], sys.byteorder)


def _cuts(form: bytes) -> Iterator[int]:
    """Lengths of the beginnings of a form that are too short to be recognized as a fragment."""
    for length in range(_MIN_SECRET, len(form)):
        if _is_long(form[:length]):
            return
        yield length


def _masked(raw: bytes, spans: list[tuple[int, int]]) -> str:
    """Replace these spans by `***`, keeping the line ends inside them."""
    pieces: list[bytes] = []
    at = 0
    for start, end in _merged(raw, spans):
        masked = b"\n".join(MASK.encode() if line else b"" for line in raw[start:end].split(b"\n"))
        pieces += (raw[at:start], masked)
        at = end
    return b"".join((*pieces, raw[at:])).decode("utf-8", "surrogatepass")


def _merged(raw: bytes, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans sorted, merged where they touch, and widened to whole characters."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted((_character_from(raw, start), _character_to(raw, end)) for start, end in spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _character_from(raw: bytes, place: int) -> int:
    while place > 0 and raw[place] in _CONTINUES:
        place -= 1
    return place


def _character_to(raw: bytes, place: int) -> int:
    while place < len(raw) and raw[place] in _CONTINUES:
        place += 1
    return place


def _encodings(secret: str) -> Iterator[bytes]:
    """The secret in plain text, percent-encoded, in base64 and in hexadecimal; `_views` resolves other escapes."""
    bare = secret.strip()
    if len(bare) < _MIN_SECRET:
        return
    raw = _bytes(bare)
    yield from (_bytes(secret), raw, quote(raw, safe="").encode(), quote(raw).encode(), quote_plus(raw).encode())
    encoded = [
        _within_base64(raw, at, encode) for encode in (base64.b64encode, base64.urlsafe_b64encode) for at in range(3)
    ]
    yield from (form for form in (*encoded, raw.hex().encode()) if len(form) >= _MIN_ENCODED)


def _letters(data: bytes) -> bytes:
    """Its letters and digits in lower case: what stays the same when a form is wrapped, quoted or spaced out."""
    return data.translate(_LOWER, _DROPPED)


def _letter_places(data: bytes) -> list[int]:
    """The index in `data` of each byte of `_letters(data)`."""
    return list(compress(range(len(data)), data.translate(_KEPT)))


@dataclass(frozen=True)
class _View:
    """A text, or another view in which each match of a pattern was replaced by its meaning."""

    data: bytes
    below: _View | None = None
    pattern: re.Pattern[bytes] = _NEWLINE
    meaning: Callable[[re.Match[bytes]], bytes] = lambda _: b""

    @classmethod
    def over(cls, below: _View, pattern: re.Pattern[bytes], meaning: Callable[[re.Match[bytes]], bytes]) -> _View:
        """The view in which each match is replaced by its meaning."""
        return cls(pattern.sub(meaning, below.data), below, pattern, meaning)

    def in_text(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text that this span of the view represents."""
        if self.below is None:
            return start, end
        places = self._places
        return self.below.in_text(places[start][0], places[end - 1][1])

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        """For each byte, the span of the view below that it represents."""
        below = self.below.data if self.below is not None else self.data
        places: list[tuple[int, int]] = []
        at = 0
        for match in self.pattern.finditer(below):
            places += ((place, place + 1) for place in range(at, match.start()))
            places += [match.span()] * len(self.meaning(match))
            at = match.end()
        places += ((place, place + 1) for place in range(at, len(below)))
        return places


def _views(text: bytes) -> Iterator[_View]:
    """The text itself, without its line ends, and without its escapes."""
    view = _View(text)
    yield view
    if b"\n" in text:
        yield _View.over(view, _NEWLINE, lambda _: b"")
    for _ in range(_LAYERS):
        if not any(begin in view.data for begin in _ESCAPE_BEGINS):
            return
        above = _View.over(view, _ESCAPE, _meaning)
        if above.data == view.data:
            return
        yield above
        view = above


def _meaning(escape: re.Match[bytes]) -> bytes:
    kind, text = escape.lastgroup, escape[escape.lastgroup or 0]
    match kind:
        case "percent" | "byte" | "number":
            return bytes.fromhex(text.decode())
        case "utf16":
            units = b"".join(bytes.fromhex(unit.decode()) for unit in text[1:].split(b"\\u"))
            return _bytes(units.decode("utf-16-be", "surrogatepass"))
        case "code":
            return _bytes(chr(int(text, 16)))
        case "octal":
            return bytes([int(text, 8)])
        case "entity":
            return _bytes(html.unescape(f"&{text.decode()}"))
        case _:
            return text if kind == "itself" else b"'"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _within_base64(secret: bytes, offset: int, encode: Callable[[bytes], bytes]) -> bytes:
    """What the base64 of every text with the secret at `offset` (modulo 3) has in common."""
    encoded = encode(bytes(offset) + secret)
    first_bit, last_bit = 8 * offset, 8 * (offset + len(secret))
    return encoded[-(-first_bit // 6) : last_bit // 6]

"""Takes secrets out of everything that leaves a step: messages and log lines."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from projectsetup.setup.secret_forms import SHORTEST_SECRET, forms, skeleton, skeleton_places, views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK: Final = "***"
_WINDOW: Final = 8
_FRAGMENT: Final = 2 * _WINDOW - 1
"""So many letters and digits of a form are hidden wherever they stand: they hold a window at a multiple of _WINDOW."""

_LOOKED_BACK: Final = 2048
"""So much of the end of a text is looked at for a secret that goes on."""

_CONTINUES: Final = range(0x80, 0xC0)
"""Bytes of UTF-8 within a character."""

_FRAME: Final = "-----"
"""Begins the lines around the base64 of a key, which are not secret."""

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
"""What is in every text of that shape, in lower case; the shape; what takes its place.

None takes long on a text of bounded length, whatever it is: it comes from processes that nobody trusts.
"""


class Scrubber:
    """Replaces known secrets, in the forms in which they travel, and whatever has the shape of one.

    A long form is known by any fragment of its letters and digits, so it may be wrapped, cut or spaced out. How long
    that takes does not depend on the number of forms: every eighth window of a text is looked up in the set of theirs.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets`: values to hide; of one with several lines, every line."""
        known = {form for secret in secrets for form in _forms(secret)}
        self._windows = frozenset(window for form in known if _is_long(form) for window in _windows(skeleton(form)))
        short = sorted((form for form in known if not _is_long(form)), key=len, reverse=True)
        self._short = re.compile(b"|".join(map(re.escape, short))) if short else None
        self._beginnings = {form[:length] for form in known for length in _cuts(form)}
        self._cut_here = {beginning[-SHORTEST_SECRET:] for beginning in self._beginnings}
        self._ends = {form[-length:] for form in known for length in _cuts(form[::-1])}
        self._longest_cut = max(map(len, self._beginnings | self._ends), default=0)
        self._shapes = [(clue, re.compile(shape), mask) for clue, shape, mask in _SHAPES]

    def scrub(self, text: str) -> str:
        """The text with `***` in place of every secret, one that goes on in the next line included."""
        if self._windows or self._short is not None:
            text = self._hide_known(text)
        lowered = text.lower()
        for clue, shape, mask in self._shapes:
            if clue in lowered:
                text = shape.sub(mask, text)
        return text

    def scrub_cut(self, text: str) -> str:
        """`scrub` for a text that was cut at its ends: the rest of a secret is hidden there too."""
        raw = text.encode("utf-8", "surrogatepass")
        before = next((length for length in self._cut_lengths(raw) if raw[:length] in self._ends), 0)
        after = next((length for length in self._cut_lengths(raw) if raw[-length:] in self._beginnings), 0)
        spans = [(0, before), (len(raw) - after, len(raw))]
        return self.scrub(_masked(raw, [span for span in spans if span[0] < span[1]]))

    def unfinished(self, text: str) -> int:
        """How many characters at the end of this text may belong to a secret that goes on after it."""
        raw = text[-_LOOKED_BACK:].encode("utf-8", "surrogatepass")
        length = 0
        if raw[-SHORTEST_SECRET:] in self._cut_here:
            length = next((length for length in self._cut_lengths(raw) if raw[-length:] in self._beginnings), 0)
        letters = skeleton(raw)
        start = max(len(letters) - _WINDOW, 0)
        if _window(letters, start) in self._windows:
            start = self._start_of_fragment(letters, start)
            length = max(length, len(raw) - skeleton_places(raw)[start])
        return len(raw[len(raw) - length :].decode("utf-8", "replace"))

    def _cut_lengths(self, raw: bytes) -> range:
        return range(min(self._longest_cut, len(raw)), SHORTEST_SECRET - 1, -1)

    def _hide_known(self, text: str) -> str:
        raw = text.encode("utf-8", "surrogatepass")
        spans = [view.in_text(*span) for view in views(raw) for span in self._found(view.data)]
        return _masked(raw, spans) if spans else text

    def _found(self, data: bytes) -> Iterator[tuple[int, int]]:
        if self._short is not None:
            yield from (match.span() for match in self._short.finditer(data))
        letters = skeleton(data)
        samples = memoryview(letters)[: len(letters) - len(letters) % _WINDOW].cast("Q")
        if not self._windows.isdisjoint(samples):
            places = skeleton_places(data)
            known = (_WINDOW * number for number, window in enumerate(samples) if window in self._windows)
            for start, end in self._fragments(letters, known):
                yield places[start], places[end - 1] + 1

    def _fragments(self, letters: bytes, known: Iterable[int]) -> Iterator[tuple[int, int]]:
        """The longest parts around these known windows of which every window is known."""
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
        yield from forms(line)


def _is_long(form: bytes) -> bool:
    return len(skeleton(form)) >= _FRAGMENT


def _windows(letters: bytes) -> list[int]:
    return [_window(letters, start) for start in range(len(letters) - _WINDOW + 1)]


def _window(letters: bytes, start: int) -> int:
    return int.from_bytes(letters[start : start + _WINDOW], sys.byteorder)


def _cuts(form: bytes) -> Iterator[int]:
    """Lengths of the beginnings of a form that would not be known for themselves."""
    for length in range(SHORTEST_SECRET, len(form)):
        if _is_long(form[:length]):
            return
        yield length


def _masked(raw: bytes, spans: list[tuple[int, int]]) -> str:
    """The text with `***` in place of these parts, and with the line ends that they hold."""
    pieces: list[bytes] = []
    at = 0
    for start, end in _merged(raw, spans):
        masked = b"\n".join(MASK.encode() if line else b"" for line in raw[start:end].split(b"\n"))
        pieces += (raw[at:start], masked)
        at = end
    return b"".join((*pieces, raw[at:])).decode("utf-8", "surrogatepass")


def _merged(raw: bytes, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in their order, none touching another, widened to whole characters."""
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

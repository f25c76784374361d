"""Regular expressions of Python as those of `grep -E`, which looks through the whole output of a step in its pod.

A line is bytes there, in the C locale, and text here: one character is up to four bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Final

_LARGEST: Final = 500
"""Repetitions that would make a piece larger than this are not counted."""

_LEADING_FLAGS: Final = re.compile(r"\(\?([aimsu]+)\)")
_GROUP: Final = re.compile(r"\((?:\?:|\?>|\?P<\w+>|(?!\?))")
_SET: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:[dDsSwWafvt]|x[0-9A-Fa-f]{2}|[^A-Za-z0-9\n\r])", re.DOTALL)
_REPEAT: Final = re.compile(r"(?:(?P<sign>[*+?])|\{(?P<least>\d*)(?P<range>,)?(?P<most>\d*)\}(?<!\{\}))[?+]?")
_ANCHORS: Final = {"^": "^", r"\A": "^", "$": "$", r"\Z": "$"}
_ASSERTIONS: Final = (r"\b", r"\B")
_SPECIAL: Final = frozenset(r".[{()*+?^$|\\")
_BEYOND_ASCII_IGNORING_CASE: Final = frozenset("iksIKS")
"""Letters that Python finds in characters beyond ASCII as well when it ignores case."""

_OTHER_CHARACTER: Final = "[^[:print:][:cntrl:]]{1,4}"
"""One that is not ASCII."""


class _Untranslatable(Exception):
    """The pattern is made of more than POSIX knows."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the translation; `single` tells that a repetition can follow it as it is."""

    text: str
    size: int
    single: bool = False


_ANY: Final = _Piece(".{1,4}", 4)


def prefilter(patterns: Iterable[str]) -> str:
    """A POSIX regular expression found, in the C locale, in every line in which one of the patterns is found.

    It may be found in others too. Patterns that cannot be translated are left out; empty when none is left.
    """
    return "|".join(f"({translated})" for pattern in patterns if (translated := translate(pattern)))


@lru_cache(maxsize=256)
def translate(pattern: str) -> str | None:
    """One pattern; None when it is made of more than literals, `. [] () | ^ $`, repetitions, classes and a first (?i).

    Nothing that narrows what is found is translated: word boundaries, for one, are passed over.
    """
    flags = _LEADING_FLAGS.match(pattern)
    ignore_case = flags is not None and "i" in flags[1]
    parser = _Parser(pattern, flags.end() if flags else 0, ignore_case=ignore_case)
    try:
        piece = parser.alternatives()
        parser.expect_end()
    except (_Untranslatable, RecursionError):
        return None
    return piece.text or None


class _Parser:
    def __init__(self, pattern: str, start: int, *, ignore_case: bool) -> None:
        self._pattern = pattern
        self._at = start
        self._ignore_case = ignore_case

    def alternatives(self) -> _Piece:
        branches = [self._sequence()]
        while self._pattern.startswith("|", self._at):
            self._at += 1
            branches.append(self._sequence())
        if len(branches) > 1 and not all(branch.text for branch in branches):
            raise _Untranslatable
        return _Piece("|".join(branch.text for branch in branches), sum(branch.size for branch in branches))

    def expect_end(self) -> None:
        if self._at < len(self._pattern):
            raise _Untranslatable

    def _sequence(self) -> _Piece:
        pieces: list[_Piece] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            pieces.append(self._anchor() or self._repeated(self._item()))
        return _Piece("".join(piece.text for piece in pieces), sum(piece.size for piece in pieces))

    def _anchor(self) -> _Piece | None:
        for written, meant in (*_ANCHORS.items(), *((assertion, "") for assertion in _ASSERTIONS)):
            if self._pattern.startswith(written, self._at):
                self._at += len(written)
                return _Piece(meant, 1)
        return None

    def _item(self) -> _Piece:
        if self._pattern[self._at] == "(":
            self._take(_GROUP)
            inner = self.alternatives()
            if not inner.text or not self._pattern.startswith(")", self._at):
                raise _Untranslatable
            self._at += 1
            return _Piece(f"({inner.text})", inner.size, single=True)
        if self._pattern[self._at] == ".":
            self._at += 1
            return _ANY
        if self._pattern[self._at] in "[\\":
            return self._character(self._take(_SET if self._pattern[self._at] == "[" else _ESCAPE))
        self._at += 1
        return self._character(self._pattern[self._at - 1])

    def _take(self, form: re.Pattern[str]) -> str:
        match = form.match(self._pattern, self._at)
        if match is None:
            raise _Untranslatable
        self._at = match.end()
        return match[0]

    def _character(self, written: str) -> _Piece:
        """A literal, an escape or a set: whatever stands for one character."""
        if len(written) == 1 and not written.isascii() and not self._ignore_case:
            return _literal_beyond_ascii(written)
        form = re.compile(written, re.IGNORECASE if self._ignore_case else re.NOFLAG)
        members = {chr(code) for code in range(1, 128) if form.fullmatch(chr(code))} - {"\n", "\r"}
        beyond = not _is_plain(written) or (self._ignore_case and not members.isdisjoint(_BEYOND_ASCII_IGNORING_CASE))
        if beyond and members:
            return _Piece(f"({_one_of(members)}|{_OTHER_CHARACTER})", 5, single=True)
        if beyond:
            return _Piece(f"({_OTHER_CHARACTER})", 4, single=True)
        if not members:
            raise _Untranslatable
        return _Piece(_one_of(members), 1, single=True)

    def _repeated(self, piece: _Piece) -> _Piece:
        match = _REPEAT.match(self._pattern, self._at)
        if match is None:
            return piece
        self._at = match.end()
        least, most = _bounds(match)
        if piece is _ANY:
            return _any_repeated(least, most)
        text = piece.text if piece.single else f"({piece.text})"
        if (least, most) == (0, 1):
            return _Piece(f"{text}?", piece.size)
        if most is None and least <= 1:
            return _Piece(f"{text}{'+' if least else '*'}", piece.size)
        size = piece.size * max(most or least, 1)
        if size > _LARGEST or not most:
            return _Piece(f"{text}{'+' if least else '*'}", piece.size)
        return _Piece(f"{text}{{{least},{most}}}", size)


def _bounds(match: re.Match[str]) -> tuple[int, int | None]:
    if match["sign"]:
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[match["sign"]]
    least = int(match["least"] or 0)
    if not match["range"]:
        return least, least
    return least, int(match["most"]) if match["most"] else None


def _any_repeated(least: int, most: int | None) -> _Piece:
    """Any characters, which are any bytes."""
    if most is None or 4 * most > _LARGEST // 4:
        return _Piece(".+" if least else ".*", 1)
    return _Piece(f".{{{least},{4 * most}}}", 4 * most)


def _literal_beyond_ascii(character: str) -> _Piece:
    try:
        size = len(character.encode())
    except UnicodeEncodeError as exc:
        raise _Untranslatable from exc
    if character == "\N{REPLACEMENT CHARACTER}":  # what stands here for bytes that are no text
        return _Piece(f"({_OTHER_CHARACTER})", 4, single=True)
    return _Piece(f"({character})", size, single=True)


def _is_plain(written: str) -> bool:
    """Whether it stands for characters of ASCII alone, but for case: by how it is written."""
    return written.isascii() and not re.match(r"\[\^", written) and not re.search(r"\\[DdSsWwx]", written)


def _one_of(members: set[str]) -> str:
    if len(members) == 1:
        (member,) = members
        return f"\\{member}" if member in _SPECIAL else member
    content = "]" if "]" in members else ""
    controls = {member for member in members if member < " " or member == "\x7f"} - {"\t"}
    content += "[:cntrl:]" if controls else ""
    content += _ranges(members - controls - set("]\\[^-"))
    content += "".join(member for member in "\\[" if member in members)
    if "^" in members:
        content = content + "^" if content else "-^" if "-" in members else "^"
    if "-" in members and "-" not in content[:1]:
        content += "-"
    return f"[{content}]"


def _ranges(members: set[str]) -> str:
    text = ""
    for _, run in groupby(enumerate(sorted(map(ord, members))), lambda place: place[1] - place[0]):
        first, *rest = (chr(code) for _, code in run)
        text += first + (f"-{rest[-1]}" if rest else "")
    return text

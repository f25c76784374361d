"""The forms in which a secret travels, and the views of a text in which they are looked for."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST_SECRET: Final = 4
"""Shorter values are in every text by chance; they are no secrets to be hidden."""

_SHORTEST_ENCODED: Final = 8
_KEPT: Final = bytes(byte > 0x7F or chr(byte).isalnum() for byte in range(0x100))  # noqa: PLR2004  # beyond ASCII
_DROPPED: Final = bytes(byte for byte in range(0x100) if not _KEPT[byte])
_LOWER: Final = bytes(range(0x100)).lower()
_NEWLINE: Final = re.compile(rb"\n")
_ESCAPE: Final = re.compile(
    rb"[%\\&'0](?:"  # which is what makes the search fast
    rb"(?<=%)(?P<percent>[0-9A-Fa-f]{2})"
    rb"|(?<=\\)x(?P<byte>[0-9A-Fa-f]{2})|(?<=0)x(?P<number>[0-9A-Fa-f]{2})(?![0-9A-Za-z])[,;]?\s{0,8}"
    rb"|(?<=\\)(?P<utf16>u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})"
    rb"|(?<=\\)U(?P<code>00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4})"
    rb"|(?<=\\)(?P<octal>[0-3][0-7]{2})|(?<=\\)(?P<itself>[^0-9A-Za-z\s])"
    rb"|(?<=&)(?P<entity>#[0-9]{1,7};|#[xX][0-9A-Fa-f]{1,6};|(?:amp|lt|gt|quot|apos);)"
    rb"|(?<=')(?P<apostrophe>\\''|\"'\"')"  # as sh writes one within apostrophes
    rb")"
)
_ESCAPE_BEGINS: Final = (b"\\", b"%", b"&", b"0x", b"'\"'\"'")
_LAYERS: Final = 2
"""So many layers of escapes are seen through, as of JSON within JSON."""


def forms(secret: str) -> Iterator[bytes]:
    """As it is, with percent signs, in base64 and in hexadecimal; what else is escaped, `views` shows as it is."""
    bare = secret.strip()
    if len(bare) < SHORTEST_SECRET:
        return
    raw = _bytes(bare)
    yield from (_bytes(secret), raw, quote(raw, safe="").encode(), quote(raw).encode(), quote_plus(raw).encode())
    encoded = [
        _within_base64(raw, at, encode) for encode in (base64.b64encode, base64.urlsafe_b64encode) for at in range(3)
    ]
    yield from (form for form in (*encoded, raw.hex().encode()) if len(form) >= _SHORTEST_ENCODED)


def skeleton(data: bytes) -> bytes:
    """Its letters and digits, in lower case: what is left of a form however it is wrapped, quoted or spaced out."""
    return data.translate(_LOWER, _DROPPED)


def skeleton_places(data: bytes) -> list[int]:
    """Where in `data` each byte of its skeleton stands."""
    return list(compress(range(len(data)), data.translate(_KEPT)))


@dataclass(frozen=True)
class View:
    """A text in which matches of a pattern were replaced by what they mean, over another view or the text itself."""

    data: bytes
    below: View | None = None
    pattern: re.Pattern[bytes] = _NEWLINE
    meaning: Callable[[re.Match[bytes]], bytes] = lambda _: b""

    @classmethod
    def over(cls, below: View, pattern: re.Pattern[bytes], meaning: Callable[[re.Match[bytes]], bytes]) -> View:
        """The view in which each match stands for its meaning."""
        return cls(pattern.sub(meaning, below.data), below, pattern, meaning)

    def in_text(self, start: int, end: int) -> tuple[int, int]:
        """The part of the text that this part of the view stands for."""
        if self.below is None:
            return start, end
        places = self._places
        return self.below.in_text(places[start][0], places[end - 1][1])

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        """For each byte, the part of the view below that it stands for."""
        below = self.below.data if self.below is not None else self.data
        places: list[tuple[int, int]] = []
        at = 0
        for match in self.pattern.finditer(below):
            places += ((place, place + 1) for place in range(at, match.start()))
            places += [match.span()] * len(self.meaning(match))
            at = match.end()
        places += ((place, place + 1) for place in range(at, len(below)))
        return places


def views(text: bytes) -> Iterator[View]:
    """The text as it is, without its line ends, and without its escapes."""
    view = View(text)
    yield view
    if b"\n" in text:
        yield View.over(view, _NEWLINE, lambda _: b"")
    for _ in range(_LAYERS):
        if not any(begin in view.data for begin in _ESCAPE_BEGINS):
            return
        above = View.over(view, _ESCAPE, _meaning)
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
    """The part that the base64 form of every text shares in which the secret stands at `offset`, modulo 3."""
    encoded = encode(bytes(offset) + secret)
    first_bit, last_bit = 8 * offset, 8 * (offset + len(secret))
    return encoded[-(-first_bit // 6) : last_bit // 6]

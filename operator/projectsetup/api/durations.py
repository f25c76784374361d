"""Durations as users write them: in Go style (`90s`, `1m30s`, `1.5h`, `500ms`) and greater than 0."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Final

DURATION_PATTERN: Final = r"^([0-9]{1,7}(\.[0-9]+)?(h|m|s|ms))+$"
"""Grammar of a duration; it also matches 0. Seven digits keep every resulting date valid."""

NOT_ZERO_PATTERN: Final = "[1-9]"
"""Matches somewhere in every duration of that grammar that is greater than 0."""

DURATION_MAX_LENGTH: Final = 32

DURATION_RULE: Final = "a duration greater than 0 such as 90s, 1m30s or 2h"

_MICROSECONDS: Final = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
_MOST_OF_A_UNIT: Final = 9_999_999
_PART: Final = re.compile(r"([0-9.]+)(h|ms|m|s)")

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_FEW: Final = 10
"""From this many of a unit on, the next smaller unit is left out."""


def parse_duration(text: str) -> timedelta:
    """The duration in `text`, rounded up to whole microseconds. Raises ValueError with a one-line message."""
    known = len(text) <= DURATION_MAX_LENGTH and re.fullmatch(DURATION_PATTERN[1:-1], text)
    if not known or not re.search(NOT_ZERO_PATTERN, text):
        shown = text if len(text) <= DURATION_MAX_LENGTH else text[:DURATION_MAX_LENGTH] + "…"
        raise ValueError(f"{shown!r} is not {DURATION_RULE}")
    microseconds = sum(Fraction(number) * _MICROSECONDS[unit] for number, unit in _PART.findall(text))
    return timedelta(microseconds=-(-microseconds // 1))


def format_duration(duration: timedelta) -> str:
    """`duration`, which is greater than 0, as `parse_duration` reads it back: `1h30m`, `1.5s`, `500ms`.

    A duration of more than seven digits of hours is rounded up to whole hours.
    """
    microseconds = duration // timedelta(microseconds=1)
    if microseconds <= 0:
        raise ValueError(f"a duration must be greater than 0, not {duration}")
    if microseconds >= (_MOST_OF_A_UNIT + 1) * _MICROSECONDS["h"]:
        parts, rest = divmod(-(-microseconds // _MICROSECONDS["h"]), _MOST_OF_A_UNIT)
        return f"{_MOST_OF_A_UNIT}h" * parts + (f"{rest}h" if rest else "")
    minutes, microseconds = divmod(microseconds, _MICROSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    text = "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m")) if number)
    if microseconds >= _MICROSECONDS["s"]:
        return text + _decimal(microseconds, digits=6) + "s"
    return text + _decimal(microseconds, digits=3) + "ms" if microseconds else text


def lasting(duration: timedelta) -> str:
    """Short form for people, such as `42s`, `5m3s`, `3h12m` or `12d`: the largest unit, and the next one below 10."""
    seconds = max(0, round(duration.total_seconds()))
    for (unit, size), (smaller, smaller_size) in pairwise(_UNITS):
        if seconds >= size:
            number, rest = divmod(seconds, size)
            part = rest // smaller_size
            return f"{number}{unit}" + (f"{part}{smaller}" if part and number < _FEW else "")
    return f"{seconds}s"


def _decimal(number: int, *, digits: int) -> str:
    whole, fraction = divmod(number, 10**digits)
    return f"{whole}.{fraction:0{digits}}".rstrip("0").rstrip(".") if fraction else str(whole)

"""The annotations that tune a setup: they can be changed at any time and take effect on what has not started."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from projectsetup.api.constants import (
    BACKOFF,
    BACKOFF_MAX,
    CANCEL_REQUESTED_AT,
    MAX_ATTEMPTS,
    PRIORITY,
    RETRY_REQUESTED_AT,
)
from projectsetup.api.durations import DURATION_RULE, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUEST_MAX_LENGTH: Final = 256
"""Longest value, in characters, of the two annotations that ask for something."""

LONGEST_KEPT: Final = REQUEST_MAX_LENGTH + 1 + 16
"""Longest value of an annotation, in characters, that is kept in memory or in `.status`."""

_SHOWN: Final = 64


class InvalidAnnotation(ValueError):
    """An annotation has a value that is not allowed; the text is one line: annotation, value, what is allowed."""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        text = str(value)
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        super().__init__(f"annotation {name} is {shown!r}: allowed is {allowed}")


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the annotations of one ProjectSetup say."""

    priority: int = 1
    """0 to 9; 0 is served first."""
    max_attempts: int = 3
    """Attempts of one series, the first included: 1 to 20."""
    backoff: timedelta = timedelta(seconds=15)
    """Delay after the first attempt; it doubles after each further one."""
    backoff_max: timedelta = timedelta(minutes=10)
    """Upper bound of the delay."""
    retry_requested_at: str | None = None
    """A value that was not handled yet asks for one manual retry; None when absent or empty."""
    cancel_requested_at: str | None = None
    """A value that was not handled yet asks to cancel; None when absent or empty."""


def parse_annotations(annotations: Mapping[str, str] | None) -> Tuning:
    """What the annotations say, defaults for those that are absent, others ignored; raises `InvalidAnnotation`."""
    given = annotations or {}
    told: dict[str, Any] = {rule.field: rule.read(name, given[name]) for name, rule in _RULES.items() if name in given}
    return Tuning(**told)


def own_annotations(annotations: Mapping[str, object]) -> dict[str, str]:
    """The annotations that mean something here, each cut by `cut_value`."""
    return {name: cut_value(value) for name in _RULES if isinstance(value := annotations.get(name), str)}


def cut_value(value: str) -> str:
    """`value`, or where no annotation may be that long, its beginning and a digest: two values stay two."""
    if len(value) <= LONGEST_KEPT:
        return value
    digest = hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()
    return f"{value[:REQUEST_MAX_LENGTH]}…{digest[:16]}"


@dataclass(frozen=True, slots=True)
class _Rule:
    field: str
    parse: Callable[[str], object]
    allowed: str

    def read(self, name: str, value: object) -> object:
        if not isinstance(value, str):
            raise InvalidAnnotation(name, value, self.allowed)
        try:
            return self.parse(value)
        except ValueError as exc:
            raise InvalidAnnotation(name, value, self.allowed) from exc


def _number(pattern: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(pattern, text):
            raise ValueError(text)
        return int(text)

    return parse


def _request(text: str) -> str | None:
    if len(text) > REQUEST_MAX_LENGTH:
        raise ValueError(text)
    return text or None


_REQUEST_RULE: Final = f"any value of at most {REQUEST_MAX_LENGTH} characters"

_RULES: Final = {
    PRIORITY: _Rule("priority", _number("[0-9]"), "0 to 9, 0 first"),
    MAX_ATTEMPTS: _Rule("max_attempts", _number("[1-9]|1[0-9]|20"), "1 to 20"),
    BACKOFF: _Rule("backoff", parse_duration, DURATION_RULE),
    BACKOFF_MAX: _Rule("backoff_max", parse_duration, DURATION_RULE),
    RETRY_REQUESTED_AT: _Rule("retry_requested_at", _request, _REQUEST_RULE),
    CANCEL_REQUESTED_AT: _Rule("cancel_requested_at", _request, _REQUEST_RULE),
}

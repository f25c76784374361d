"""The annotations that tune a setup. They may change at any time; a change applies to whatever has not started."""

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
    REQUEST_ID,
    RETRY_REQUESTED_AT,
)
from projectsetup.api.durations import DURATION_RULE, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUEST_MAX_LENGTH: Final = 256
"""Longest value, in characters, of the annotations that request a retry or a cancel."""

LONGEST_KEPT: Final = REQUEST_MAX_LENGTH + 1 + 16
"""Longest annotation value, in characters, kept in memory or in `.status`."""

_SHOWN: Final = 64


class InvalidAnnotation(ValueError):
    """An annotation has an invalid value; the text is one line: the annotation, its value and the rule."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        text = str(value)
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        super().__init__(f"annotation {name} is {shown!r}: {rule}")


@dataclass(frozen=True, slots=True)
class Tuning:
    """The settings that one ProjectSetup has in its annotations."""

    priority: int = 1
    """0 to 9; 0 starts first."""
    max_attempts: int = 3
    """Attempts in one series, including the first: 1 to 20."""
    backoff: timedelta = timedelta(seconds=15)
    """Delay after the first failed attempt; it doubles after each one that follows."""
    backoff_max: timedelta = timedelta(minutes=10)
    """Upper limit of the delay."""
    retry_requested_at: str | None = None
    """A value that was not handled yet requests one manual retry; None if absent or empty."""
    cancel_requested_at: str | None = None
    """A value that was not handled yet requests a cancel; None if absent or empty."""


def parse_annotations(annotations: Mapping[str, str] | None) -> Tuning:
    """Parse the annotations; absent ones take their defaults, foreign ones are ignored. Raises `InvalidAnnotation`."""
    given = annotations or {}
    parsed: dict[str, Any] = {
        rule.field: rule.read(name, given[name]) for name, rule in _RULES.items() if name in given
    }
    return Tuning(**parsed)


def own_annotations(annotations: Mapping[str, object]) -> dict[str, str]:
    """The annotations that the operator reads, each cut by `cut_value`."""
    return {name: cut_value(value) for name in _OWN if isinstance(value := annotations.get(name), str)}


def cut_value(value: str) -> str:
    """`value`; if it is too long, its beginning and a digest, so that different values stay different."""
    if len(value) <= LONGEST_KEPT:
        return value
    digest = hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()
    return f"{value[:REQUEST_MAX_LENGTH]}…{digest[:16]}"


@dataclass(frozen=True, slots=True)
class _Rule:
    field: str
    parse: Callable[[str], object]
    rule: str

    def read(self, name: str, value: object) -> object:
        if not isinstance(value, str):
            raise InvalidAnnotation(name, value, self.rule)
        try:
            return self.parse(value)
        except ValueError as exc:
            raise InvalidAnnotation(name, value, self.rule) from exc


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


_REQUEST_RULE: Final = f"must have at most {REQUEST_MAX_LENGTH} characters"

_RULES: Final = {
    PRIORITY: _Rule("priority", _number("[0-9]"), "must be 0 to 9 (0 starts first)"),
    MAX_ATTEMPTS: _Rule("max_attempts", _number("[1-9]|1[0-9]|20"), "must be 1 to 20"),
    BACKOFF: _Rule("backoff", parse_duration, f"must be {DURATION_RULE}"),
    BACKOFF_MAX: _Rule("backoff_max", parse_duration, f"must be {DURATION_RULE}"),
    RETRY_REQUESTED_AT: _Rule("retry_requested_at", _request, _REQUEST_RULE),
    CANCEL_REQUESTED_AT: _Rule("cancel_requested_at", _request, _REQUEST_RULE),
}

_OWN: Final = (*_RULES, REQUEST_ID)

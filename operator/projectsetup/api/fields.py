"""Field types: how each is read and written, and its OpenAPI schema."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from projectsetup.api.annotations import LONGEST_KEPT, cut_value
from projectsetup.api.durations import (
    DURATION_MAX_LENGTH,
    DURATION_PATTERN,
    DURATION_RULE,
    NOT_ZERO_PATTERN,
    format_duration,
    parse_duration,
)
from projectsetup.text import DNS_LABEL

MESSAGE_MAX_LENGTH: Final = 1024

_DNS_SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


def cut_message(text: str) -> str:
    """`text`, cut to the 1,024 characters that a message in `.status` may have."""
    return text if len(text) <= MESSAGE_MAX_LENGTH else text[: MESSAGE_MAX_LENGTH - 1] + "…"


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _written(time: datetime) -> str:
    return _utc(time).strftime("%Y-%m-%dT%H:%M:%SZ")


def _written_not_before(time: datetime) -> str:
    whole = time.replace(microsecond=0)
    return _written(whole if whole == time else whole + timedelta(seconds=1))


def _duration(value: object) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(str(value))


def _matching(pattern: str, rule: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text[:80]!r} is not {rule}")
        return text

    return AfterValidator(check)


_TIME_SCHEMA: Final = WithJsonSchema({"type": "string", "format": "date-time"})

Timestamp = Annotated[datetime, AfterValidator(_utc), PlainSerializer(_written, return_type=str), _TIME_SCHEMA]
"""Read with any offset, kept in UTC, written in whole seconds."""

DueTime = Annotated[datetime, AfterValidator(_utc), PlainSerializer(_written_not_before, return_type=str), _TIME_SCHEMA]
"""A `Timestamp` at which something is due; rounded up when written, so that no delay gets shorter."""

Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": DURATION_PATTERN,
            "maxLength": DURATION_MAX_LENGTH,
            "x-kubernetes-validations": [
                {"rule": f"self.matches('{NOT_ZERO_PATTERN}')", "message": f"must be {DURATION_RULE}"}
            ],
        }
    ),
]

RecipeName = Annotated[
    str,
    _matching(DNS_LABEL, "a recipe name (at most 63 lower-case letters, digits and '-')"),
    WithJsonSchema({"type": "string", "pattern": f"^{DNS_LABEL}$", "maxLength": 63}),
]

SecretName = Annotated[
    str,
    _matching(rf"(?=.{{1,253}}$){_DNS_SUBDOMAIN}", "a Secret name"),
    WithJsonSchema({"type": "string", "pattern": f"^{_DNS_SUBDOMAIN}$", "maxLength": 253}),
]

Message = Annotated[
    str, AfterValidator(cut_message), WithJsonSchema({"type": "string", "maxLength": MESSAGE_MAX_LENGTH})
]

Word = Annotated[str, AfterValidator(lambda text: text[:253]), WithJsonSchema({"type": "string", "maxLength": 253})]
"""A short text in `.status`; cut, so that any text from a recipe can be written."""

AnnotationValue = Annotated[
    str, AfterValidator(cut_value), WithJsonSchema({"type": "string", "maxLength": LONGEST_KEPT})
]
"""The value of an annotation that was acted on; cut, so that any value can be recorded."""

Count = Annotated[int, Field(json_schema_extra={"format": "int32", "minimum": 0})]

Generation = Annotated[int, Field(json_schema_extra={"format": "int64", "minimum": 0})]

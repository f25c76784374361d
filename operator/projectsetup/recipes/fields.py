"""Types of recipe fields; each rejects a bad value with a message that says what is allowed."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from projectsetup.api.durations import DURATION_MAX_LENGTH, DURATION_PATTERN, format_duration, parse_duration
from projectsetup.recipes.patterns import value_match
from projectsetup.text import DNS_LABEL, harmful_character

_PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}(?::[0-9]+)?/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@[a-z0-9+._-]+:[0-9a-f]{{32,}})?"
)
"""The grammar of references to images that container runtimes share."""


def _check_dns_label(text: str) -> str:
    if not re.fullmatch(DNS_LABEL, text):
        raise ValueError("must be a DNS label: 1 to 63 of a-z, 0-9 and '-', without '-' at either end")
    return text


def _check_parameter_name(text: str) -> str:
    if not _PARAMETER_NAME.fullmatch(text):
        raise ValueError("must be a parameter name: 1 to 63 of a-z, 0-9 and '_', starting with a letter")
    return text


def _check_variable(text: str) -> str:
    refusal = refusal_of_variable(text)
    if refusal:
        raise ValueError(refusal)
    return text


def _check_image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise ValueError("must be the name of a container image, such as registry.example/team/tools:1.2")
    return text


def _check_one_line(text: str) -> str:
    if harmful_character(text) is not None:
        raise ValueError("must be one line of printable text")
    return text


def _check_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _check_script(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty: it is the script for `sh -euc`")
    return _check_text(text)


def _check_value_pattern(text: str) -> str:
    value_match(text)
    return text


def _check_output_pattern(text: str) -> str:
    try:
        re.compile(text.encode())
    except (re.error, OverflowError, RecursionError) as exc:
        raise ValueError(f"must be a regular expression: {exc}") from exc
    return text


def _read_duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a duration such as 90s, 5m or 1h30m")  # noqa: TRY004  # pydantic reports ValueErrors
    return parse_duration(value)


def _text_like(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$"})


DnsLabel = Annotated[str, AfterValidator(_check_dns_label), _text_like(DNS_LABEL)]
ParameterName = Annotated[str, AfterValidator(_check_parameter_name), _text_like(_PARAMETER_NAME.pattern)]
VariableName = Annotated[str, AfterValidator(_check_variable), _text_like("[A-Za-z_][A-Za-z0-9_]*")]
Image = Annotated[str, Field(max_length=500), AfterValidator(_check_image)]
Line = Annotated[str, Field(max_length=500), AfterValidator(_check_one_line)]
Text = Annotated[str, Field(max_length=4_096), AfterValidator(_check_text)]
Script = Annotated[str, Field(max_length=100_000), AfterValidator(_check_script)]
ValuePattern = Annotated[str, Field(max_length=1_000), AfterValidator(_check_value_pattern)]
"""A regular expression for the value of a parameter."""
OutputPattern = Annotated[str, Field(max_length=1_000), AfterValidator(_check_output_pattern)]
"""A regular expression for a line of bytes."""
ExitCode = Annotated[int, Field(ge=1, le=255)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "maxLength": DURATION_MAX_LENGTH}),
]


PARAMETER_PREFIX = "PARAM_"

_VALID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWNED = frozenset(
    {
        "ATTEMPT",
        "CODE_REPO",
        "DOCS_REPO",
        "GIT_ALLOW_PROTOCOL",
        "GIT_ASKPASS",
        "GIT_PROTOCOL_FROM_USER",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
        "GIT_TERMINAL_PROMPT",
        "HOME",
        "SSH_ASKPASS",
        "STEP_OUTPUTS",
        "TMPDIR",
        "WORKSPACE",
    }
)
_OWNED_PREFIXES = ("PROJECT_", PARAMETER_PREFIX, "GIT_CONFIG")


def parameter_variable(name: str) -> str:
    """The variable that passes a parameter to a step: `PARAM_LICENSE` for `license`."""
    return PARAMETER_PREFIX + name.upper()


def refusal_of_variable(name: str) -> str | None:
    """Why a recipe may not set this variable; None if it may."""
    if not _VALID.fullmatch(name):
        return "must be the name of an environment variable: letters, digits and '_', not starting with a digit"
    if name in _OWNED or name.startswith(_OWNED_PREFIXES):
        return "is reserved for the operator"
    return None


_QUANTITY = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,9})?)(?P<suffix>m|k|[MGTPE]|[KMGTPE]i)?")
_POWERS = {suffix: Decimal(1000) ** power for power, suffix in enumerate(("", "k", "M", "G", "T", "P", "E"))}
_BINARY = {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)}
_FACTORS = {**_POWERS, **_BINARY, "m": Decimal("0.001")}


def amount(quantity: str) -> Decimal:
    """The value of a quantity in cores or bytes. Raises ValueError with a one-line message."""
    match = _QUANTITY.fullmatch(quantity)
    if not match or not Decimal(match["number"]):
        raise ValueError("must be a quantity greater than 0 such as 500m, 1.5 or 2Gi")
    return Decimal(match["number"]) * _FACTORS[match["suffix"] or ""]


def _read(value: object) -> str:
    """The quantity as text. YAML reads `cpu: 1` as a number, which Kubernetes accepts as well."""
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    amount(text)
    return text


Quantity = Annotated[
    str,
    BeforeValidator(_read),
    Field(max_length=32),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "pattern": f"^{_QUANTITY.pattern.replace('?P<number>', '').replace('?P<suffix>', '')}$",
        }
    ),
]
"""A Kubernetes quantity such as `500m`, `1.5` or `2Gi`, as it was written."""

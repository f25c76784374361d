"""Amounts as Kubernetes writes them, such as `500m`, `1.5` or `2Gi`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field

_QUANTITY = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,9})?)(?P<suffix>m|k|[MGTPE]|[KMGTPE]i)?")
_POWERS = {suffix: Decimal(1000) ** power for power, suffix in enumerate(("", "k", "M", "G", "T", "P", "E"))}
_BINARY = {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)}
_FACTORS = {**_POWERS, **_BINARY, "m": Decimal("0.001")}


def amount(quantity: str) -> Decimal:
    """What a quantity is worth: cores or bytes. Raises ValueError, one line."""
    match = _QUANTITY.fullmatch(quantity)
    if not match or not Decimal(match["number"]):
        raise ValueError("must be a quantity greater than 0 such as 500m, 1.5 or 2Gi")
    return Decimal(match["number"]) * _FACTORS[match["suffix"] or ""]


def _read(value: object) -> str:
    """YAML reads `cpu: 1` as a number, which is what Kubernetes takes there as well."""
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    amount(text)
    return text


Quantity = Annotated[str, BeforeValidator(_read), Field(max_length=32)]
"""As it was written."""

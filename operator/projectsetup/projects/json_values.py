"""How values of the record become JSON."""

from __future__ import annotations

import json


def to_json(value: object) -> str:
    """The text of any JSON value, output of foreign programs within it included, as jsonb takes it."""
    return json.dumps(_storable(value), ensure_ascii=False, allow_nan=False)


def _storable(value: object) -> object:
    """The value with the two things jsonb refuses in text, NUL and lone surrogates, replaced."""
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
        case _:
            return value

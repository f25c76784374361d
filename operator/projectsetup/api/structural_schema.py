"""From a pydantic model to the structural OpenAPI schema that a CustomResourceDefinition wants."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema

from projectsetup.api.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

_DROPPED: Final = {"$defs", "title", "anyOf", "$ref"}

_READING_ORDER: Final = ("description", "type", "format", "enum", "default")


class _GenerateSchema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def structural_schema(model: type[BaseModel], *, defaults: bool) -> dict[str, Any]:
    """The schema of `model` without references, titles and null.

    A field that may be None is one that may be absent. Without `defaults` the API server fills in nothing.
    """
    schema = model.model_json_schema(by_alias=True, schema_generator=_GenerateSchema)
    return _structural(schema, schema.get("$defs", {}), defaults=defaults)


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any], *, defaults: bool) -> dict[str, Any]:
    merged = _inlined(node, definitions)
    if not defaults or merged.get("default") is None:
        merged.pop("default", None)
    if "description" in merged:
        merged["description"] = " ".join(merged["description"].split())
    if "properties" in merged:
        merged["properties"] = {
            name: _structural(child, definitions, defaults=defaults) for name, child in merged["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(merged.get(key), dict):
            merged[key] = _structural(merged[key], definitions, defaults=defaults)
    return {key: merged[key] for key in sorted(merged, key=_place)}


def _place(key: str) -> tuple[int, str]:
    """First what a reader asks for, then the limits by name, the children last."""
    if key in _READING_ORDER:
        return _READING_ORDER.index(key), key
    return len(_READING_ORDER) + (key in {"properties", "items", "additionalProperties"}), key


def _inlined(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """`node` on top of what it refers to; what it says itself, such as its description, wins."""
    base: dict[str, Any] = {}
    if "$ref" in node:
        base = _inlined(definitions[node["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in node:
        (choice,) = (choice for choice in node["anyOf"] if choice != {"type": "null"})
        base = _inlined(choice, definitions)
    return base | {key: value for key, value in node.items() if key not in _DROPPED}

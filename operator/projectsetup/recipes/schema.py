"""The JSON Schema of recipe files, for editors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from projectsetup.api.durations import format_duration
from projectsetup.recipes.model import Recipe


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: object) -> object:
        """Durations as recipes write them."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # pydantic's signature
        """The names of fields speak for themselves."""
        return False


def build_schema() -> dict[str, Any]:
    """What a recipe file may contain. `recipes lint` checks more, such as patterns and unique step names."""
    schema = Recipe.model_json_schema(by_alias=True, schema_generator=_Generator)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "Recipe of projectsetup"}

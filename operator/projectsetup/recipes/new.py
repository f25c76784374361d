"""The recipe that `recipes new` writes: a commented beginning that passes `lint` and `try`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from projectsetup.recipes.errors import InvalidRecipe
from projectsetup.recipes.schema import build_schema
from projectsetup.text import DNS_LABEL

SCHEMA_FILE: Final = "recipe.schema.json"
"""The file beside recipes in which editors find their schema: what `recipes schema` prints."""

_TEMPLATE: Final = Path(__file__).parent / "new-recipe.yaml"


def new_recipe(name: str, version: str) -> str:
    """The text of a recipe of this name, for this version of the toolchain image. Raises InvalidRecipe."""
    if not re.fullmatch(DNS_LABEL, name):
        raise InvalidRecipe(
            f"{name[:80]!r} is not a recipe name (1 to 63 of a-z, 0-9 and '-', without '-' at either end)"
        )
    text = _TEMPLATE.read_text(encoding="utf-8")
    for key, value in (("@NAME@", name), ("@VERSION@", version), ("@SCHEMA@", SCHEMA_FILE)):
        text = text.replace(key, value)
    return text


def schema_text() -> str:
    """The schema as a file."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"

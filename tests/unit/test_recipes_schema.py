"""The JSON Schema of recipes accepts what the loader accepts, as a real validator sees it."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from projectsetup.recipes.errors import InvalidRecipe
from projectsetup.recipes.loader import BUILTIN, load_recipe
from projectsetup.recipes.new import new_recipe
from projectsetup.recipes.schema import build_schema
from projectsetup.version import version
from tests.support.manifests import ROOT

SCHEMA: Final = build_schema()
VALIDATOR: Final = Draft202012Validator(SCHEMA)
EXAMPLES: Final = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)
RECIPES: Final = {
    **{path.stem: path.read_text() for path in sorted(BUILTIN.glob("*.yaml"))},
    **{path.stem: path.read_text() for path in sorted((ROOT / "docs" / "recipes").glob("*.yaml"))},
    **{f"docs-{number}": text for number, text in enumerate(EXAMPLES)},
    "new": new_recipe("mine", version()),
}
RECIPE: Final = """\
name: mine
image: x:1
workspaceSize: 1.5
resources: {limits: {cpu: 1, ephemeral-storage: 2Gi}}
parameters: {team: {}}
steps:
- {name: build, status: compiling, run: make, timeout: 1h30m, env: {A: b}, retry: {exitCodes: [7], output: [x]}}
"""
WRONG: Final = {
    "name: mine": "name: Mine",
    "image: x:1": "",
    "workspaceSize: 1.5": "workspaceSize: 2GB",
    "cpu: 1": "gpu: 1",
    "team: {}": "Team: {}",
    "{team: {}}": "[team]",
    "status: compiling": "status: done",
    "timeout: 1h30m": "timeout: 90",
    "1h30m": "1 h",
    "run: make": "script: make",
    "A: b": "a-b: c",
    "[7]": "[0]",
    "output: [x]": "output: x",
}


def test_it_is_a_schema_that_describes_every_field() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for part in (SCHEMA, *SCHEMA["$defs"].values()):
        assert all(field.get("description") for field in part.get("properties", {}).values()), part
    assert SCHEMA["$defs"]["Step"]["properties"]["timeout"]["default"] == "10m"


@pytest.mark.parametrize("name", RECIPES)
def test_it_accepts_our_recipes(name: str) -> None:
    VALIDATOR.validate(yaml.safe_load(RECIPES[name]))


@pytest.mark.parametrize("right", WRONG)
def test_it_refuses_what_the_loader_refuses(right: str) -> None:
    good: Any = yaml.safe_load(RECIPE)
    assert load_recipe(RECIPE, "good")
    assert VALIDATOR.is_valid(good)
    wrong = RECIPE.replace(right, WRONG[right])
    with pytest.raises(InvalidRecipe):
        load_recipe(wrong, "wrong")
    assert not VALIDATOR.is_valid(yaml.safe_load(wrong))

"""Attempts and recipes for tests of the Job engine."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import yaml

from projectsetup.engines.base import Adoption, AttemptSpec
from projectsetup.recipes.loader import load_recipe
from projectsetup.recipes.model import Recipe
from projectsetup.setup.types import SetupProject

PROJECT_ID = UUID("0f0f0f0f-1111-4222-8333-444444444444")


def make_recipe(*steps: dict[str, Any], **top: Any) -> Recipe:
    """A recipe as administrators write it; a step needs only a name."""
    written = [{"status": "compiling", "run": "true", **step} for step in steps]
    return load_recipe(yaml.safe_dump({"name": "sample", "image": "toolchain:1", **top, "steps": written}), "sample")


def make_attempt(recipe: Recipe, **changes: Any) -> AttemptSpec:
    """Attempt 2 of a project whose fields need escaping."""
    project = SetupProject(
        PROJECT_ID, "Näme $(id) $$(HOME)", "name", "two\nlines", "https://bob@code.example/x", "git@docs.example:y"
    )
    given: dict[str, Any] = {
        "namespace": "team",
        "name": str(PROJECT_ID),
        "uid": "uid-1",
        "project": project,
        "recipe": recipe,
        "parameters": {"license": "MIT"},
        "number": 2,
        "fence": 7,
        "run_name": f"setup-{PROJECT_ID}-2-7",
        "timeout": 90.5,
    }
    return AttemptSpec(**{**given, **changes})


def make_adoption(**changes: Any) -> Adoption:
    """The same attempt, adopted by another operator."""
    given: dict[str, Any] = {
        "namespace": "team",
        "name": str(PROJECT_ID),
        "uid": "uid-1",
        "project_id": PROJECT_ID,
        "number": 2,
        "fence": 8,
        "run_name": f"setup-{PROJECT_ID}-2-7",
        "digest": "",
    }
    return Adoption(**{**given, **changes})

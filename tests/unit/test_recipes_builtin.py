"""The recipe file of `python-service`."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from projectsetup.recipes.errors import InvalidParameters
from projectsetup.recipes.loader import RecipeBook, load_recipe
from projectsetup.recipes.model import StepStatus

RECIPE = RecipeBook().get("python-service")


def test_its_steps_go_through_all_statuses_in_order() -> None:
    assert [step.status for step in RECIPE.steps] == [*StepStatus, StepStatus.COMMITTING]


def test_only_the_push_sees_credentials() -> None:
    assert [step.name for step in RECIPE.steps if step.credentials] == ["push"]


def test_its_image_is_of_this_version() -> None:
    assert RECIPE.image.endswith(f":{version('projectsetup')}")


def test_it_refuses_licenses_it_has_no_text_for() -> None:
    assert RECIPE.check_parameters({}) == {"license": "MIT"}
    with pytest.raises(InvalidParameters, match=r"must match MIT\|Apache"):
        RECIPE.check_parameters({"license": "GPL-3.0-only"})


@pytest.mark.parametrize(
    ("line", "retryable"),
    [
        ("error: Request failed after 3 retries in 4.1s", True),
        ("  cause: error sending request for url (https://index.example/simple/mypy/)", True),
        ("  cause: HTTP status server error (503 Service Unavailable) for url (https://index.example/)", True),
        ("  cause: operation timed out", True),
        ("error: Hash mismatch for `mypy==2.4.1`", False),
        ("  cause: HTTP status client error (403 Forbidden) for url (https://index.example/)", False),
        ("  x No solution found when resolving dependencies:", False),
    ],
)
def test_which_troubles_of_the_installation_are_worth_another_attempt(line: str, *, retryable: bool) -> None:
    (install,) = [step for step in RECIPE.steps if step.name == "install"]
    assert any(re.search(pattern, line) for pattern in install.retry.output) is retryable


def test_the_example_of_the_documentation_is_a_recipe() -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert load_recipe(example, "docs/recipes.md").name == "node-service"

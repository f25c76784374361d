"""What a recipe asks of the nodes on which the Job engine runs it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from projectsetup.recipes.errors import InvalidRecipe
from projectsetup.recipes.fields import amount
from projectsetup.recipes.loader import load_recipe
from projectsetup.recipes.model import DEFAULT_RESOURCES, Amounts, Recipe


def recipe(top: str = "") -> Recipe:
    text = f"name: sample\nimage: toolchain:1\n{top}\nsteps:\n- {{name: build, status: compiling, run: make}}\n"
    return load_recipe(text, "sample.yaml")


@pytest.mark.parametrize(
    ("quantity", "worth"),
    [
        ("1", "1"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        ("128974848", "128974848"),
        ("3k", "3000"),
        ("2Ki", "2048"),
        ("2Gi", "2147483648"),
        ("0.5Gi", "536870912"),
        ("1E", "1000000000000000000"),
    ],
)
def test_quantities(quantity: str, worth: str) -> None:
    assert amount(quantity) == Decimal(worth)


@pytest.mark.parametrize(
    "quantity", ["", "0", "0Gi", "-1", "1 Gi", "1gb", "1GiB", "1e3", "one", ".5", "1.", "0x10", "1K"]
)
def test_what_is_no_quantity(quantity: str) -> None:
    with pytest.raises(ValueError, match="must be a quantity greater than 0"):
        amount(quantity)


def test_defaults() -> None:
    assert (recipe().resources, recipe().workspace_size) == (DEFAULT_RESOURCES, "2Gi")


def test_what_a_recipe_names_takes_the_place_of_all_defaults() -> None:
    asked = recipe("resources: {limits: {cpu: 2, memory: 4Gi, ephemeral-storage: 8Gi}}\nworkspaceSize: 6Gi")
    assert asked.resources.requests == Amounts()
    assert asked.resources.limits.model_dump(exclude_none=True) == {
        "cpu": "2",
        "memory": "4Gi",
        "ephemeral-storage": "8Gi",
    }
    assert asked.workspace_size == "6Gi"


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ("workspaceSize: lots", "workspaceSize: must be a quantity greater than 0 such as 500m, 1.5 or 2Gi"),
        ("workspaceSize: true", "workspaceSize: must be a quantity"),
        ("resources: {limits: {memory: 2GB}}", "resources.limits.memory: must be a quantity"),
        ("resources: {limits: {gpu: 1}}", "resources.limits.gpu: is no key of a recipe"),
        ("resources: {limits: {ephemeralStorage: 1Gi}}", "resources.limits.ephemeralStorage: is no key of a recipe"),
        ("resources: {memory: 1Gi}", "resources.memory: is no key of a recipe"),
        (
            "resources: {requests: {memory: 1Gi}, limits: {memory: 1000M}}",
            "resources: requests 1Gi of memory, which is more than its limit of 1000M",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(top: str, said: str) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        recipe(top)
    assert f"sample.yaml: {said}" in str(caught.value)
    assert "\n" not in str(caught.value)

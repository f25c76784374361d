"""The recipe model: fields, parameters and resources, with an error that names the place and the rule."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
import yaml

from projectsetup.recipes.errors import InvalidParameters, InvalidRecipe
from projectsetup.recipes.fields import amount
from projectsetup.recipes.loader import load_recipe
from projectsetup.recipes.model import DEFAULT_RESOURCES, Amounts, Recipe, StepStatus

EXAMPLE = """
name: example
description: one line
image: registry.example/toolchain:1        # for the Job engine
parameters:
  license: {default: MIT, pattern: "^[A-Za-z0-9.-]+$", description: SPDX id}
steps:
  - name: compile
    status: compiling
    run: make build
    image: other:1
    timeout: 5m
    credentials: false
    isolate: false
    env: {KEY: value}
    retry: {exitCodes: [75], output: ["Connection reset", "(?i)temporary failure"]}
"""

RESERVED = ("PROJECT_NAME", "PARAM_LICENSE", "HOME", "GIT_ALLOW_PROTOCOL", "GIT_CONFIG_COUNT")
TOO_MUCH = "resources: {requests: {memory: 1Gi}, limits: {memory: 1000M}}"
STEP_A = "{name: a, status: testing, run: x}"


def recipe_text(step: str = "", top: str = "") -> str:
    return f"name: sample\nimage: toolchain:1\n{top}\nsteps:\n- {{name: build, status: compiling, run: make, {step}}}\n"


def error_of(text: str) -> str:
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(text, "sample.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_complete_recipe_and_one_with_defaults() -> None:
    recipe = load_recipe(EXAMPLE, "example.yaml")
    (step,) = recipe.steps
    assert (recipe.name, recipe.image_of(step)) == ("example", "other:1")
    assert (step.status, step.timeout, step.env) == (StepStatus.COMPILING, timedelta(minutes=5), {"KEY": "value"})
    assert (step.retry.exit_codes, step.retry.output) == ((75,), ("Connection reset", "(?i)temporary failure"))
    recipe = load_recipe(recipe_text(), "sample.yaml")
    (step,) = recipe.steps
    assert (step.credentials, step.isolate, step.env, recipe.image_of(step)) == (False, False, {}, "toolchain:1")
    assert (step.retry.exit_codes, step.retry.output, step.timeout) == ((), (), timedelta(minutes=10))
    assert (recipe.resources, recipe.workspace_size) == (DEFAULT_RESOURCES, "2Gi")
    top = 'resources: {limits: {cpu: 2, memory: 4Gi}}\nworkspaceSize: 6Gi\ndescription: "Prix\\u00a0: so\\u00adft"'
    recipe = load_recipe(recipe_text(top=top), "sample.yaml")
    assert (recipe.resources.requests, recipe.resources.limits) == (Amounts(), Amounts(cpu="2", memory="4Gi"))
    assert (recipe.workspace_size, recipe.description) == ("6Gi", "Prix\u00a0: so\u00adft")


def test_a_dumped_recipe_loads_as_the_same() -> None:
    recipe = load_recipe(EXAMPLE, "example.yaml")
    text = yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False)
    assert "exitCodes" in text
    assert load_recipe(text, "again.yaml") == recipe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (recipe_text("shell: bash"), "steps[0].shell: is not a key of a recipe"),
        (recipe_text("retry: {exit_codes: [1]}"), "steps[0].retry.exit_codes: is not a key of a recipe"),
        (recipe_text("timeout: 5"), "steps[0].timeout: must be a duration"),
        (recipe_text("timeout: soon"), "steps[0].timeout: "),
        (recipe_text("timeout: 0s"), "steps[0].timeout: "),
        (recipe_text("credentials: maybe"), "steps[0].credentials: must be true or false"),
        (recipe_text("credentials: 1"), "steps[0].credentials: must be true or false"),
        *((recipe_text(f"env: {{{name}: x}}"), f"steps[0].env.{name}: is reserved for the") for name in RESERVED),
        (recipe_text("env: {1A: x}"), "steps[0].env.1A: must be the name of an environment variable"),
        (recipe_text("env: {A: 1}"), "steps[0].env.A: must be text; put it in quotes"),
        (recipe_text("retry: {exitCodes: [0]}"), "steps[0].retry.exitCodes[0]: "),
        (recipe_text("retry: {exitCodes: [256]}"), "steps[0].retry.exitCodes[0]: "),
        (recipe_text("retry: {exitCodes: 75}"), "steps[0].retry.exitCodes: must be a list"),
        (recipe_text("retry: {output: ['(']}"), "steps[0].retry.output[0]: must be a regular expression"),
        (recipe_text("retry: {output: [fine, '(a)\\1']}"), r"steps[0].retry: '(a)\1': back-references are not"),
        *(
            (recipe_text(f"image: '{image}'"), "steps[0].image: must be the name of a container image, such as")
            for image in ("a b", "--privileged", "Alpine:3", "http://reg/x:1", "a@sha256:zz", "a:", "", "a//b", "a/B")
        ),
        (recipe_text(top="parameters: {License: {}}"), "parameters.License: must be a parameter name"),
        (recipe_text(top="parameters: {a-b: {}}"), "parameters.a-b: must be a parameter name"),
        (
            recipe_text(top="parameters: {a: {pattern: '['}}"),
            "parameters.a.pattern: must be a regular expression of RE2: missing ]: [",
        ),
        (
            recipe_text(top="parameters: {a: {pattern: '[a-z]+', default: 'b c'}}"),
            "parameters.a: the default must match",
        ),
        (recipe_text(top="parameters: {a: {default: no}}"), "parameters.a.default: must be text; put it in quotes"),
        (recipe_text(top="description: 'two\n\n lines'"), "description: must be one line"),
        (recipe_text(top='description: "a\\u202Eb"'), "description: must be one line of printable text"),
        (
            recipe_text(top="workspaceSize: lots"),
            "workspaceSize: must be a quantity greater than 0 such as",
        ),
        (recipe_text(top="workspaceSize: true"), "workspaceSize: must be a quantity"),
        (recipe_text(top="resources: {limits: {memory: 2GB}}"), "resources.limits.memory: must be a quantity"),
        (recipe_text(top="resources: {limits: {gpu: 1}}"), "resources.limits.gpu: is not a key of a recipe"),
        (recipe_text(top="resources: {memory: 1Gi}"), "resources.memory: is not a key of a recipe"),
        (recipe_text(top=TOO_MUCH), "resources: requests 1Gi of memory, more than the limit of 1000M"),
        ("name: Sample\nimage: a\nsteps: [{name: a, status: testing, run: x}]", "name: must be a DNS label"),
        ("name: a\nsteps: [{name: a, status: testing, run: x}]", "image: is missing"),
        ("name: a\nimage: a\nsteps: []", "steps: must have at least one entry"),
        ("name: a\nimage: a\nsteps: [{name: A, status: testing, run: x}]", "steps[0].name: must be a DNS label"),
        ("name: a\n---\nname: b", "line 2, column 1: begins a second document; a file holds one recipe"),
        ("[a]: b", "line 1, column 1: uses a list or mapping as a key"),
        ("name: a\nimage: a\nsteps: [{name: a, status: ready, run: x}]", "steps[0].status: must be 'initializing',"),
        ("name: a\nimage: a\nsteps: [{name: a, status: testing, run: ' '}]", "steps[0].run: must not be empty"),
        (f"name: a\nimage: a\nsteps: [{STEP_A}, {STEP_A}]", "2 steps are named a; step names must be unique"),
        ("name: a\nimage: a\nsteps: [make]", "steps[0]: must be a mapping"),
        ("name: 1\nimage: 2\nsteps: 3", "name: must be text; put it in quotes (and 2 more problems)"),
    ],
)
def test_an_error_names_the_place_and_the_rule(text: str, expected: str) -> None:
    assert error_of(text).startswith(f"sample.yaml: {expected}")


def test_at_most_fifty_steps() -> None:
    def text(count: int) -> str:
        steps = [{"name": f"s{n}", "status": "testing", "run": "true"} for n in range(count)]
        return yaml.safe_dump({"name": "a", "image": "a", "steps": steps})

    assert len(load_recipe(text(50), "a.yaml").steps) == 50
    assert "steps: " in error_of(text(51))


@pytest.fixture
def parameterised() -> Recipe:
    top = "parameters: {license: {default: MIT, pattern: '[A-Z]+'}, team: {pattern: '[a-z]+'}, note: {default: ''}}"
    return load_recipe(recipe_text(top=top), "sample.yaml")


def test_parameters_are_completed_with_defaults(parameterised: Recipe) -> None:
    assert parameterised.check_parameters({"team": "core"}) == {"license": "MIT", "note": "", "team": "core"}
    assert parameterised.check_parameters({"team": "core", "license": "BSD"})["license"] == "BSD"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "recipe sample requires the parameter team"),
        ({"team": "a", "size": "1"}, "recipe sample has no parameter 'size'; it has: license, note, team"),
        ({"team": "a b"}, "parameter team of recipe sample must match [a-z]+"),
        ({"team": "core\n"}, "parameter team of recipe sample must match [a-z]+"),
        ({"team": "a", "note": "\0"}, "parameter note of recipe sample must match text without NUL characters"),
    ],
)
def test_invalid_parameters(parameterised: Recipe, given: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parameterised.check_parameters(given)
    assert str(caught.value) == message


WORTH = {"1": "1", "500m": "0.5", "1.5": "1.5", "128974848": "128974848", "3k": "3000", "2Ki": "2048"}
LARGE = {"2Gi": "2147483648", "0.5Gi": "536870912", "1E": "1000000000000000000"}


@pytest.mark.parametrize(("quantity", "worth"), [*WORTH.items(), *LARGE.items()])
def test_quantities(quantity: str, worth: str) -> None:
    assert amount(quantity) == Decimal(worth)


@pytest.mark.parametrize(
    "quantity", ["", "0", "0Gi", "-1", "1 Gi", "1gb", "1GiB", "1e3", "one", ".5", "1.", "0x10", "1K"]
)
def test_invalid_quantities(quantity: str) -> None:
    with pytest.raises(ValueError, match="must be a quantity greater than 0"):
        amount(quantity)

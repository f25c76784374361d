"""The files of the built-in recipes."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from time import process_time

import pytest

from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.commands.push import BRANCH, check_branch
from projectsetup.recipes.errors import InvalidParameters
from projectsetup.recipes.lint import unportable_steps, unsafe_steps
from projectsetup.recipes.loader import RecipeBook, load_recipe
from projectsetup.recipes.model import StepStatus

RECIPE = RecipeBook().get("python-service")


@pytest.mark.parametrize("name", RecipeBook().names())
def test_all_have_the_same_parameters_and_steps(name: str) -> None:
    recipe = RecipeBook().get(name)
    assert recipe.parameters == RECIPE.parameters
    assert [(step.name, step.status) for step in recipe.steps] == [(step.name, step.status) for step in RECIPE.steps]
    assert [step.status for step in recipe.steps] == [*StepStatus, StepStatus.COMMITTING]
    assert [step.name for step in recipe.steps if step.credentials] == ["push"]
    assert recipe.image.endswith(f":{version('projectsetup')}")
    assert recipe.parameters["branch"].pattern == BRANCH.pattern
    assert unsafe_steps(recipe) == unportable_steps(recipe) == ()


def test_it_refuses_licenses_it_has_no_text_for() -> None:
    assert RECIPE.check_parameters({})["license"] == "MIT"
    with pytest.raises(InvalidParameters, match=r"must match MIT\|Apache"):
        RECIPE.check_parameters({"license": "GPL-3.0-only"})


GENERATOR_REFUSES = {"a.lock", "a.lock/b", "HEAD", "x" * 201}
"""Branch names that no pattern of RE2 excludes."""

VALUES = [
    *(("branch", name, True) for name in ("master", "team/trunk", "v1.2_x-y", "a/b.c", "a./b", "x" * 200)),
    *(
        ("branch", name, False)
        for name in ("", "-x", ".x", "a b", "a..b", "a/", "/a", "a//b", "a.", "a./", "a.lock", "x" * 201)
    ),
    *(
        ("branch", name, False)
        for name in ("HEAD", "a.lock/b", "a/.b", "refs@{0}", "a~1", "a:b", "a\nb", "main\n", "ä")
    ),
    *(("author_name", name, True) for name in ("Robot", "Ünï Çode", 'O\'Brien, "Bob" & Co.', "自動", "x" * 201)),
    *(
        ("author_name", name, False)
        for name in ("", " ", ".,;", "a <b>", "a\nb", "a\n", "a\x00", "a\x1b[1m", "x" * 202)
    ),
    *(("author_email", text, True) for text in ("a@b", "1+robot@users.noreply.example.com", "ü@exämple.org")),
    *(("author_email", text, False) for text in ("", "robot", "@b", "a@", "a@b@c", "<a@b>", "a b@c", "a@b\n", "a@b c")),
    *(("author_email", f"a{space}b@c", False) for space in "\t\x1f\x85\u00a0\u2003\u2028\u3000"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), VALUES)
def test_accepted_branches_and_authors(name: str, value: str, *, allowed: bool) -> None:
    if name == "branch" and value in GENERATOR_REFUSES:
        assert RECIPE.parameters[name].allows(value)
        with pytest.raises(CommandError, match=r"is not a valid branch name$|has at most 200 characters, not 201$"):
            check_branch(value)
    else:
        assert RECIPE.parameters[name].allows(value) is allowed
        assert name != "branch" or not allowed or check_branch(value) == value


@pytest.mark.parametrize("name", ["branch", "author_name", "author_email"])
@pytest.mark.parametrize("letter", ["a", "a/", "a@", "<", " ", "."])
def test_a_long_value_is_matched_in_linear_time(name: str, letter: str) -> None:
    began = process_time()
    assert not RECIPE.parameters[name].allows(letter * 16_384 + "<")
    assert process_time() - began < 1


@pytest.mark.parametrize("branch", [value for name, value, allowed in VALUES if name == "branch" and allowed])
def test_git_accepts_these_branches(branch: str) -> None:
    subprocess.run(["git", "check-ref-format", "--branch", branch], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("name", "line", "retryable"),
    [
        ("python-service", "error: Request failed after 3 retries in 4.1s", True),
        ("python-service", "  cause: error sending request for url (https://index.example/simple/mypy/)", True),
        (
            "python-service",
            "  cause: HTTP status server error (503 Service Unavailable) for url (https://index.example/)",
            True,
        ),
        ("python-service", "  cause: operation timed out", True),
        ("python-service", "error: Hash mismatch for `mypy==2.4.1`", False),
        ("python-service", "  cause: HTTP status client error (403 Forbidden) for url (https://index.example/)", False),
        ("python-service", "  x No solution found when resolving dependencies:", False),
        ("node-service", "npm error code ECONNREFUSED", True),
        ("node-service", "npm error code E503", True),
        ("node-service", "npm error network timeout at: https://index.example/fastify", True),
        ("node-service", "npm error code E404", False),
        ("node-service", "npm error code EINTEGRITY", False),
        ("node-service", "npm error code EUSAGE", False),
        ("go-service", "dial tcp 127.0.0.1:9: connect: connection refused", True),
        ("go-service", "reading https://index.example/x/@v/v1.0.0.mod: 503 Service Unavailable", True),
        ("go-service", "reading https://index.example/x/@v/v1.0.0.mod: 404 Not Found", False),
        ("go-service", "verifying x@v1.0.0: checksum mismatch", False),
    ],
)
def test_retryable_installation_errors(name: str, line: str, *, retryable: bool) -> None:
    (install,) = [step for step in RecipeBook().get(name).steps if step.name == "install"]
    assert any(re.search(pattern, line) for pattern in install.retry.output) is retryable


def test_the_documented_example_is_a_recipe() -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert load_recipe(example, "docs/recipes.md").name == "web-frontend"

"""The recipe file of `python-service`."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from time import process_time

import pytest

from projectsetup.recipes.commands.push import BRANCH
from projectsetup.recipes.errors import InvalidParameters
from projectsetup.recipes.loader import RecipeBook, load_recipe
from projectsetup.recipes.model import StepStatus

RECIPE = RecipeBook().get("python-service")


def test_the_recipe() -> None:
    assert [step.status for step in RECIPE.steps] == [*StepStatus, StepStatus.COMMITTING]
    assert [step.name for step in RECIPE.steps if step.credentials] == ["push"]
    assert RECIPE.image.endswith(f":{version('projectsetup')}")
    assert RECIPE.parameters["branch"].pattern == BRANCH.pattern


def test_it_refuses_licenses_it_has_no_text_for() -> None:
    assert RECIPE.check_parameters({})["license"] == "MIT"
    with pytest.raises(InvalidParameters, match=r"must match MIT\|Apache"):
        RECIPE.check_parameters({"license": "GPL-3.0-only"})


VALUES = [
    *(("branch", name, True) for name in ("master", "team/trunk", "v1.2_x-y", "a/b.c", "x" * 200)),
    *(
        ("branch", name, False)
        for name in ("", "-x", ".x", "a b", "a..b", "a/", "/a", "a//b", "a.", "a.lock", "x" * 201)
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
]


@pytest.mark.parametrize(("name", "value", "allowed"), VALUES)
def test_accepted_branches_and_authors(name: str, value: str, *, allowed: bool) -> None:
    assert RECIPE.parameters[name].allows(value) is allowed


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
def test_retryable_installation_errors(line: str, *, retryable: bool) -> None:
    (install,) = [step for step in RECIPE.steps if step.name == "install"]
    assert any(re.search(pattern, line) for pattern in install.retry.output) is retryable


def test_the_documented_example_is_a_recipe() -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert load_recipe(example, "docs/recipes.md").name == "node-service"

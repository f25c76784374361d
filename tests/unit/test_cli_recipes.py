"""`recipes …`, `crd` and `--version`: what needs neither cluster nor database."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from projectsetup.api.crd import build_crd
from projectsetup.recipes.loader import BUILTIN, load_recipe
from tests.support.command_line import CommandLine

GOOD = """\
name: mine
description: builds [red]it[/red]
image: registry.example/toolchain:1
parameters:
  license: {default: MIT, description: SPDX id}
  team: {pattern: "[a-z]+"}
steps:
  - name: build
    status: compiling
    timeout: 90s
    credentials: true
    run: |
      make
      make test
"""

BUILT_IN = ("go-service", "node-service", "python-service")
NO_RECIPE = f"there is no recipe 'nix'; available: {', '.join(BUILT_IN)}"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.delenv("PROJECTSETUP_RECIPES_DIR", raising=False)
    return CommandLine(capsys)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(GOOD)
    (tmp_path / "broken.yaml").write_text(GOOD.replace("name: mine", "name: broken").replace("timeout:", "timeuot:"))
    return tmp_path


def test_the_list_shows_built_in_recipes(cli: CommandLine) -> None:
    header, *lines = cli.ok("recipes", "list").out.splitlines()
    assert header.split() == ["NAME", "STEPS", "PARAMETERS", "DESCRIPTION"]
    shared = ["7", "author_email,author_name,branch,ci,license"]
    assert [line.split()[:3] for line in lines] == [[name, *shared] for name in BUILT_IN]


def test_a_broken_recipe_is_listed_with_its_problem(cli: CommandLine, directory: Path) -> None:
    lines = cli.ok("recipes", "list", "--recipes-dir", directory).out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["broken", *BUILT_IN[:1], "mine", *BUILT_IN[1:]]
    assert "timeuot" in lines[1]
    assert lines[3].endswith("builds [red]it[/red]")


def test_the_directory_may_come_from_the_environment(
    cli: CommandLine, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJECTSETUP_RECIPES_DIR", str(directory))
    broken, _, mine, *_ = cli.ok("recipes", "list", "-o", "json").json
    assert broken["problem"].startswith("recipe broken is invalid: ")
    assert mine == {
        "name": "mine",
        "description": "builds [red]it[/red]",
        "parameters": ["license", "team"],
        "steps": ["build"],
        "problem": None,
    }


def test_one_recipe_with_its_parameters_and_steps(cli: CommandLine, directory: Path) -> None:
    assert cli.ok("recipes", "show", "mine", "--recipes-dir", directory).out == (
        "Name         mine\n"
        "Description  builds [red]it[/red]\n"
        "Image        registry.example/toolchain:1\n"
        "Workspace    2Gi\n"
        "Requests     cpu 100m, memory 256Mi, ephemeral-storage 512Mi\n"
        "Limits       memory 2Gi, ephemeral-storage 4Gi\n"
        "\n"
        "PARAMETER  DEFAULT     PATTERN  DESCRIPTION\n"
        "license    MIT         -        SPDX id\n"
        "team       (required)  [a-z]+   -\n"
        "\n"
        "STEP   STATUS     TIMEOUT  CREDENTIALS  RUN\n"
        "build  compiling  1m30s    yes          make; make test\n"
    )


def test_what_is_shown_as_yaml_is_that_recipe(cli: CommandLine, directory: Path) -> None:
    out = cli.ok("recipes", "show", "mine", "-o", "yaml", "--recipes-dir", directory).out
    assert load_recipe(out, "shown") == load_recipe(GOOD, "written")
    assert yaml.safe_load(out) == cli.ok("recipes", "show", "mine", "-o", "json", "--recipes-dir", directory).json


def test_an_unknown_recipe_is_answered_with_those_there_are(cli: CommandLine) -> None:
    for output in ("table", "json", "yaml"):
        line = cli.refused(2, "recipes", "show", "nix", "-o", output)
        assert line == NO_RECIPE


def test_a_good_file_passes_lint(cli: CommandLine, directory: Path) -> None:
    file = directory / "good.yaml"
    file.write_text(GOOD.replace("make", "push-somewhere"))
    assert cli.ok("recipes", "lint", file).out == f"{file}: recipe mine is valid; steps: build\n"
    assert cli.ok("recipes", "lint", BUILTIN / "python-service.yaml").out.endswith("commit, push\n")


def test_lint_warns_of_a_step_that_hands_its_credentials_to_the_workspace(cli: CommandLine, directory: Path) -> None:
    file = directory / "mine.yaml"
    ended = cli("recipes", "lint", file)
    assert (ended.code, ended.out) == (0, f"{file}: recipe mine is valid; steps: build\n")
    assert ended.err == (
        f"{file}:13: warning: step build has credentials and runs make in the workspace, "
        "which an earlier step could have written; see docs/recipes.md, Steps with credentials\n"
    )


def test_an_unusable_file_is_reported_in_one_line(cli: CommandLine, directory: Path) -> None:
    file = directory / "broken.yaml"
    line = cli.refused(2, "recipes", "lint", file)
    assert line.startswith(f"{file}: steps[0].timeuot: is not a key of a recipe")
    assert "timeuot" in cli.refused(2, "recipes", "show", "broken", "--recipes-dir", directory)
    missing = directory / "nix"
    assert cli.refused(2, "recipes", "lint", missing) == f"{missing}: cannot be read: No such file or directory"


def test_nothing_is_tried_of_what_is_wrong(cli: CommandLine, directory: Path) -> None:
    file = directory / "broken.yaml"
    assert cli.refused(2, "recipes", "try", file).startswith(f"{file}: steps[0].timeuot: is not a key of a recipe")
    assert cli.refused(2, "recipes", "try", "nix") == NO_RECIPE
    unknown = cli.refused(2, "recipes", "try", "python-service", "--param", "nix=1")
    assert unknown.startswith("recipe python-service has no parameter 'nix'; it has: ")
    missing = cli.refused(2, "recipes", "try", "mine", "--recipes-dir", directory)
    assert missing == "recipe mine requires the parameter team"
    assert "name" in cli.refused(2, "recipes", "try", "python-service", "--project-name", " ")


def test_a_new_recipe_passes_lint_and_is_never_overwritten(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.ok("recipes", "new", "hello-service")
    first = Path("hello-service.yaml").read_text()
    assert first.startswith("# yaml-language-server: $schema=recipe.schema.json\n")
    assert Path("recipe.schema.json").read_text() == cli.ok("recipes", "schema").out
    assert "@" not in first
    valid = "hello-service.yaml: recipe hello-service is valid; steps: generate, test, commit, push\n"
    assert cli.ok("recipes", "lint", "hello-service.yaml").out == valid
    Path("full.yaml").write_text(re.sub(r"(?m)^  # (- name: install|  [a-z]+: .*)$", r"  \1", first))
    assert "; steps: generate, install, test, " in cli.ok("recipes", "lint", "full.yaml").out
    Path("recipe.schema.json").write_text("mine")
    refusal = cli.refused(2, "recipes", "new", "hello-service")
    assert refusal == "hello-service.yaml exists already; choose another name or folder"
    cli.ok("recipes", "new", "other")
    assert "replaces the built-in recipe go-service" in cli("recipes", "new", "go-service").err
    assert Path("recipe.schema.json").read_text() == "mine"
    assert cli.refused(2, "recipes", "new", "Hello").startswith("'Hello' is not a recipe name")


def test_the_crd_is_printed_as_it_is_generated(cli: CommandLine) -> None:
    assert yaml.safe_load(cli.ok("crd").out) == build_crd()


def test_the_version_is_that_of_the_package(cli: CommandLine) -> None:
    assert cli.ok("--version").out == f"projectsetup {version('projectsetup')}\n"

"""The rendered project: its files, and free text in TOML, Python and Markdown."""

from __future__ import annotations

import ast
import html
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from projectsetup.recipes.builtin.python_service.distribution import TEMPLATE, distribution_name
from projectsetup.recipes.builtin.python_service.install import uv_environment
from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.generator.filters import (
    go_module,
    go_string,
    json_string,
    markdown,
    python_string,
    summary,
    typescript_string,
)
from projectsetup.recipes.generator.project import Project
from projectsetup.recipes.generator.rendering import render, template_folder
from projectsetup.recipes.loader import RecipeBook
from projectsetup.text import harmful_character

NAME = """Orders "desk" {{ 7*7 }} {% raw %} $(touch pwned) `id` it's ünïcode \\ end"""


def project(spdx: str = "MIT") -> Project:
    return Project(NAME, "orders", "Line one.\n\n- two", parameters={"license": spdx})


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def locked(name: str) -> dict[str, str]:
    text = (TEMPLATE / "workspace" / "code" / name).read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))


def test_the_name_is_only_text(tmp_path: Path) -> None:
    render(TEMPLATE, project(), tmp_path, token_auth=True)
    files = files_of(tmp_path)
    values: dict[str, str] = {}
    exec(files["code/src/service/about.py"].replace('version("orders")', '""'), values)  # noqa: S102  # our own file
    assert values["NAME"] == NAME
    assert tomllib.loads(files["code/pyproject.toml"])["project"]["description"] == "Line one. - two"
    assert f"the authors of {NAME}\n" in files["code/LICENSE"]
    assert files["code/README.md"].splitlines()[2:5] == ["Line one.", "", "\\- two"]
    assert "49" not in files["docs/index.md"]


@pytest.mark.parametrize(
    ("recipe", "code"),
    [
        ("python-service", {"src/service/security.py", "tests/test_security.py"}),
        ("node-service", {"src/security.ts", "test/security.test.ts"}),
        ("go-service", {"internal/service/security.go", "internal/service/security_test.go"}),
    ],
)
def test_authentication_is_a_separate_layer(tmp_path: Path, recipe: str, code: set[str]) -> None:
    template = template_folder(recipe)
    render(template, project(), tmp_path, token_auth=False)
    without = files_of(tmp_path)
    render(template, project(), tmp_path, token_auth=True)
    both = files_of(tmp_path)
    assert both.keys() - without.keys() == {"docs/authentication.md", *(f"code/{path}" for path in code)}
    sources = (".py", ".md", ".ts", ".go")
    assert not any("token" in text.lower() for path, text in without.items() if path.endswith(sources))


@pytest.mark.parametrize(
    ("ci", "files"),
    [
        ("all", {".github/workflows/ci.yml", ".gitlab-ci.yml"}),
        ("github", {".github/workflows/ci.yml"}),
        ("gitlab", {".gitlab-ci.yml"}),
        ("none", set()),
    ],
)
@pytest.mark.parametrize("recipe", RecipeBook().names())
def test_the_chosen_ci_files(tmp_path: Path, recipe: str, ci: str, files: set[str]) -> None:
    parameters = RecipeBook().get(recipe).check_parameters({"ci": ci})
    render(template_folder(recipe), Project(NAME, "orders", parameters=parameters), tmp_path, token_auth=True)
    found = {path for path in files_of(tmp_path / "code") if path.startswith((".github", ".gitlab"))}
    assert found == files
    for path in found:
        assert yaml.safe_load((tmp_path / "code" / path).read_text())


@pytest.mark.parametrize("name", ["absent", "python_service/../x", "./absent"])
def test_a_folder_that_is_no_template(name: str) -> None:
    with pytest.raises(CommandError, match=r"is not a template: it needs a file copier\.yml"):
        template_folder(name)


@pytest.mark.parametrize(
    ("spdx", "text"),
    [
        ("MIT", "MIT License\n"),
        ("Apache-2.0", "Version 2.0, January 2004\n"),
        ("BSD-3-Clause", "BSD 3-Clause License\n"),
        ("LicenseRef-Proprietary", "All rights reserved.\n"),
    ],
)
def test_every_license_the_recipe_allows_has_its_text(tmp_path: Path, spdx: str, text: str) -> None:
    assert RecipeBook().get("python-service").check_parameters({"license": spdx})["license"] == spdx
    render(TEMPLATE, project(spdx), tmp_path, token_auth=True)
    assert text in (tmp_path / "code" / "LICENSE").read_text()


def test_a_service_never_replaces_a_dependency() -> None:
    for slug in ("orders", "service", "test", "class"):
        assert distribution_name(slug) == slug
    for slug in ("fastapi", "typing-extensions", "pytest"):
        assert distribution_name(slug) == f"{slug}-service"


def test_the_lock_files_have_all_dependencies_and_no_url(tmp_path: Path) -> None:
    render(TEMPLATE, project(), tmp_path, token_auth=True)
    settings = tomllib.loads((tmp_path / "code" / "pyproject.toml").read_text())
    runtime, development = locked("requirements.lock"), locked("requirements-dev.lock")
    assert set(settings["project"]["dependencies"]) <= runtime.keys()
    includes_build, *tools = settings["dependency-groups"]["dev"]
    assert includes_build == {"include-group": "build"}
    assert set(tools) <= development.keys()
    assert settings["dependency-groups"]["build"] == settings["build-system"]["requires"]
    assert locked("requirements-build.lock").keys() == {"uv-build"}
    assert (runtime | locked("requirements-build.lock")).items() <= development.items()
    for name in ("requirements.lock", "requirements-build.lock", "requirements-dev.lock"):
        text = (tmp_path / "code" / name).read_text()
        assert "://" not in text
        assert len(re.findall(r"==[^\\]+\\\n    --hash=sha256:", text)) == len(locked(name))


def test_the_lock_file_of_npm_has_hashes_and_names_no_registry(tmp_path: Path) -> None:
    render(template_folder("node-service"), project("LicenseRef-Proprietary"), tmp_path, token_auth=True)
    text = (tmp_path / "code" / "package-lock.json").read_text()
    assert "resolved" not in text
    lock, package = json.loads(text), json.loads((tmp_path / "code" / "package.json").read_text())
    root = lock["packages"].pop("")
    assert root == {key: package[key] for key in root}
    assert (package["name"], package["license"]) == ("orders", "UNLICENSED")
    assert all(entry["integrity"].startswith("sha512-") for entry in lock["packages"].values())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"PIP_INDEX_URL": "a"}, {"UV_DEFAULT_INDEX": "a"}),
        ({"PIP_INDEX_URL": "a", "UV_DEFAULT_INDEX": "b"}, {"UV_DEFAULT_INDEX": "b"}),
        ({"PIP_INDEX_URL": "a", "UV_INDEX_URL": "b"}, {"UV_INDEX_URL": "b"}),
        ({"PIP_EXTRA_INDEX_URL": "a"}, {"UV_INDEX": "a"}),
    ],
)
def test_uv_uses_the_index_set_for_pip(given: dict[str, str], expected: dict[str, str]) -> None:
    variables = uv_environment(given)
    assert variables.pop("UV_PYTHON_DOWNLOADS") == "never"
    assert {name: value for name, value in variables.items() if name.startswith("UV_")} == expected


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
PRINTABLE = st.text(max_size=100).map(lambda text: "".join(c for c in text if not harmful_character(c)).strip())


@given(ANY_TEXT)
@example('"""\\')
@example("\x7f\x00\r\n\u2028")
def test_json_strings_read_back(text: str) -> None:
    assert tomllib.loads(f"value = {json_string(text)}")["value"] == text


@given(ANY_TEXT)
@example("\x7f\x00\r\n\u2028")
def test_python_strings_read_back(text: str) -> None:
    assert ast.literal_eval(python_string(text)) == text


@pytest.mark.parametrize(
    ("text", "typescript", "go"),
    [
        ("", '""', '""'),
        ("it's", '"it\'s"', '"it\'s"'),
        ('"a"', "'\"a\"'", r'"\"a\""'),
        ("\\", r'"\\"', r'"\\"'),
        ("${x} `y`", '"${x} `y`"', '"${x} `y`"'),
        ("\n\x7f\u2028\ufeff", r'"\u{a}\u{7f}\u{2028}\u{feff}"', r'"\U0000000a\U0000007f\U00002028\U0000feff"'),
        ("\U000e0001", r'"\u{e0001}"', r'"\U000e0001"'),
    ],
)
def test_strings_of_typescript_and_go(text: str, typescript: str, go: str) -> None:
    assert (typescript_string(text), go_string(text)) == (typescript, go)


@pytest.mark.parametrize(
    ("code_repo", "module"),
    [
        ("https://git.example.org/team/orders.git", "git.example.org/team/orders"),
        ("https://git.example.org/team/orders/", "git.example.org/team/orders"),
        ("ssh://git@git.example.org/team/sub_group/x.y", "git.example.org/team/sub_group/x.y"),
        ("ssh://git@git.example.org:2222/team/orders", "example.com/orders"),
        ("https://git.example.org/Team/Orders", "example.com/orders"),
        ("https://localhost/team/orders", "example.com/orders"),
        ("https://git.example.org/team/v2", "example.com/orders"),
        ("https://git.example.org/team/con.x", "example.com/orders"),
        ("https://git.example.org/a//b", "example.com/orders"),
        ("https://git.example.org/a b", "example.com/orders"),
        ("file:///repositories/orders.git", "example.com/orders"),
    ],
)
def test_go_modules(code_repo: str, module: str) -> None:
    assert go_module(code_repo, "orders") == module


@pytest.mark.parametrize("slug", ["v2", "con"])
def test_a_slug_that_is_no_element_of_a_module_path(slug: str) -> None:
    assert go_module("", slug) == "example.com/service"


@settings(max_examples=25, deadline=None)
@given(st.lists(PRINTABLE, min_size=20, max_size=40))
@example(["both ' and \"", '"', "'", "'\"'\"", "\\", "\\'", "{{ 7*7 }}"])
def test_python_strings_are_as_ruff_formats_them(texts: list[str]) -> None:
    source = "".join(f"x = {python_string(text)}\n" for text in texts)
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "-"]
    done = subprocess.run(command, input=source, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == source


@given(PRINTABLE)
@example("{{ 7*7 }}")
@example("👩\u200d👧 می\u200cشود \u00ad\u00a0x")
@example("$(id) `id`; rm -rf ~ ~~x~~")
@example("snake_case _c_ *d* **e** __f__")
@example("#")
@example("# # #")
@example("C# #")
@example("1. one")
@example("12) twelve")
@example("- [x](y) ![z](w)")
@example("<b>&amp;</b> &#65; <https://example.org>")
@example("=== ---")
@example("\\_\\")
def test_markdown_shows_the_text(text: str) -> None:
    for source, tag in ((f"# {markdown(text)}\n", "h1"), (f"{markdown(text)}\n", "p")):
        shown = MarkdownIt("commonmark").enable("strikethrough").render(source)
        if text:
            inner = re.fullmatch(rf"<{tag}>(.*)</{tag}>\n", shown)
            assert inner, shown
            assert "<" not in inner[1]
            assert html.unescape(inner[1]) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("one\n two\t three ", "one two three"), ("", ""), ("x" * 301, "x" * 299 + "…"), ("x" * 300, "x" * 300)],
)
def test_summary(text: str, expected: str) -> None:
    assert summary(text) == expected


def test_the_ci_files_install_the_uv_of_the_toolchain() -> None:
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text()
    (pin,) = re.findall(r"^uv==[0-9.]+", lock, re.MULTILINE)
    for name in (".github/workflows/ci.yml", ".gitlab-ci.yml"):
        assert re.findall(r"\buv==\S+", (TEMPLATE / "workspace" / "code" / name).read_text()) == [pin]

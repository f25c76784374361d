"""The rendered project: its files, and free text in TOML, Python and Markdown."""

from __future__ import annotations

import ast
import html
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from projectsetup.recipes.builtin.python_service.distribution import TEMPLATE, distribution_name
from projectsetup.recipes.builtin.python_service.install import uv_environment
from projectsetup.recipes.generator.filters import json_string, markdown, python_string, summary
from projectsetup.recipes.generator.project import Project
from projectsetup.recipes.generator.rendering import render
from projectsetup.recipes.loader import RecipeBook
from projectsetup.text import harmful_character

if TYPE_CHECKING:
    from pathlib import Path

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


def test_authentication_is_a_separate_layer(tmp_path: Path) -> None:
    render(TEMPLATE, project(), tmp_path, token_auth=False)
    without = files_of(tmp_path)
    render(TEMPLATE, project(), tmp_path, token_auth=True)
    both = files_of(tmp_path)
    added = {"code/src/service/security.py", "code/tests/test_security.py", "docs/authentication.md"}
    assert both.keys() - without.keys() == added
    assert not any("token" in text.lower() for path, text in without.items() if path.endswith((".py", ".md")))
    assert "require_token" in both["code/src/service/security.py"]


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
    assert set(settings["dependency-groups"]["dev"]) <= development.keys()
    assert runtime.items() <= development.items()
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (tmp_path / "code" / name).read_text()
        assert "://" not in text
        assert len(re.findall(r"==[^\\]+\\\n    --hash=sha256:", text)) == len(locked(name))


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

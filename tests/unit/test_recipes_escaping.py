"""Whatever a project is called, the files made from its name parse, and say that name."""

from __future__ import annotations

import ast
import html
import re
import subprocess
import sys
import tomllib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from projectsetup.recipes.builtin.python_service.rendering import markdown, python_string, summary, toml_string
from projectsetup.text import harmful_character

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
PRINTABLE = st.text(max_size=100).map(lambda text: "".join(c for c in text if not harmful_character(c)).strip())


@given(ANY_TEXT)
@example('"""\\')
@example("\x7f\x00\r\n\u2028")
def test_toml_strings_read_back(text: str) -> None:
    assert tomllib.loads(f"value = {toml_string(text)}")["value"] == text


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


def test_markdown_keeps_paragraphs_and_ordinary_words() -> None:
    text = "Orders & invoices, in snake_case: 50 %.\n\nSecond paragraph."
    assert markdown(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("one\n two\t three ", "one two three"), ("", ""), ("x" * 301, "x" * 299 + "…"), ("x" * 300, "x" * 300)],
)
def test_summary(text: str, expected: str) -> None:
    assert summary(text) == expected

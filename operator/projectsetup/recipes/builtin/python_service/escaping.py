"""How a text that people chose freely is written into TOML, Python and Markdown so that it stays what it is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from jinja2.ext import Extension

if TYPE_CHECKING:
    from jinja2 import Environment

SUMMARY_LENGTH = 300

_MARKDOWN_INLINE = re.compile(
    r"[\\`*\[\]<>~|]"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # inside a word it is no emphasis
    r"|&(?=#?[A-Za-z0-9]+;)"
    r"|(?<= )#(?=#*$)"  # would close a heading
)
_MARKDOWN_BLOCK = re.compile(r"^(\d*)(?=[-+=#]|(?<=\d)[.)])")


def summary(text: str) -> str:
    """The text as one line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= SUMMARY_LENGTH else line[: SUMMARY_LENGTH - 1].rstrip() + "…"


def toml_string(text: str) -> str:
    """A basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def python_string(text: str) -> str:
    """A string literal as `ruff format` leaves it: in double quotes, unless single ones need fewer escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + "".join(_python_character(character, quote) for character in text) + quote


def markdown(text: str) -> str:
    """Markdown that shows the text; its empty lines separate paragraphs, nothing else in it has a meaning."""
    return "\n".join(_markdown_line(line.strip()) for line in text.splitlines())


def _python_character(character: str, quote: str) -> str:
    if character in (quote, "\\"):
        return "\\" + character
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _markdown_line(line: str) -> str:
    escaped = _MARKDOWN_INLINE.sub(lambda match: "\\" + match[0], line)
    return _MARKDOWN_BLOCK.sub(lambda match: match[1] + "\\", escaped)


class Escapes(Extension):
    """Makes the functions of this module filters of the template."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        for function in (summary, toml_string, python_string, markdown):
            environment.filters[function.__name__] = function

"""Filters for templates that escape free text for the language of the file."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from jinja2 import StrictUndefined
from jinja2.ext import Extension

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment

SUMMARY_LENGTH = 300

_MARKDOWN_INLINE = re.compile(
    r"[\\`*\[\]<>~|]"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # no emphasis inside a word
    r"|&(?=#?[A-Za-z0-9]+;)"
    r"|(?<= )#(?=#*$)"  # would close a heading
)
_MARKDOWN_BLOCK = re.compile(r"^(\d*)(?=[-+=#]|(?<=\d)[.)])")


def summary(text: str) -> str:
    """The text as one line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= SUMMARY_LENGTH else line[: SUMMARY_LENGTH - 1].rstrip() + "…"


def json_string(text: str) -> str:
    """The text as a JSON string, which is a TOML basic string too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def python_string(text: str) -> str:
    """The text as a Python literal as `ruff format` writes it: in the quotes that need fewer escapes."""
    return _literal(text, _preferred_quote(text), lambda character: character.encode("unicode_escape").decode())


def typescript_string(text: str) -> str:
    """The text as a TypeScript literal as Biome and Prettier write it: in the quotes that need fewer escapes."""
    return _literal(text, _preferred_quote(text), lambda character: f"\\u{{{ord(character):x}}}")


def go_string(text: str) -> str:
    """The text as an interpreted string literal of Go."""
    return _literal(text, '"', lambda character: f"\\U{ord(character):08x}")


_GO_ELEMENT = r"(?!(?:con|prn|aux|nul|com\d|lpt\d)\b)[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_-])?"
_GO_MODULE = re.compile(rf"[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/{_GO_ELEMENT})+(?<!/v\d)(?<!/v\d\d)")


def go_module(code_repo: str, slug: str) -> str:
    """The Go module path of the code repository; a placeholder if its URL is no module path in lower case."""
    address = re.fullmatch(r"(?:https|ssh)://(?:[^/@]*@)?([^@]+?)(?:\.git)?/?", code_repo)
    candidates = (*(address.groups() if address else ()), f"example.com/{slug}")
    return next(filter(_GO_MODULE.fullmatch, candidates), "example.com/service")


def markdown(text: str) -> str:
    """Markdown that shows the text literally, except that empty lines separate paragraphs."""
    return "\n".join(_markdown_line(line.strip()) for line in text.splitlines())


def _preferred_quote(text: str) -> str:
    return "'" if text.count('"') > text.count("'") else '"'


def _literal(text: str, quote: str, escape: Callable[[str], str]) -> str:
    def written(character: str) -> str:
        if character in (quote, "\\"):
            return "\\" + character
        return character if character.isprintable() else escape(character)

    return quote + "".join(map(written, text)) + quote


def _markdown_line(line: str) -> str:
    escaped = _MARKDOWN_INLINE.sub(lambda match: "\\" + match[0], line)
    return _MARKDOWN_BLOCK.sub(lambda match: match[1] + "\\", escaped)


class Filters(Extension):
    """Registers the filters of this module; a template names it in `_jinja_extensions`.

    Unknown names, such as misspelled ones, become errors.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.undefined = StrictUndefined
        for function in (summary, json_string, python_string, typescript_string, go_string, go_module, markdown):
            environment.filters[function.__name__] = function

"""Renders the template for a project, with free text escaped for TOML, Python and Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from copier import run_copy
from jinja2.ext import Extension

if TYPE_CHECKING:
    from jinja2 import Environment

    from projectsetup.recipes.builtin.python_service.project import Project

TEMPLATE = Path(__file__).parent / "template"
DEV_LOCK = TEMPLATE / "workspace" / "code" / "requirements-dev.lock"


def render(project: Project, workspace: Path, *, token_auth: bool) -> None:
    """Write `code/` and `docs/`; with `token_auth`, update files that were rendered without it."""
    run_copy(
        str(TEMPLATE),
        workspace,
        data={
            "name": project.name,
            "description": project.description,
            "distribution": distribution_name(project.slug),
            "license": project.license,
            "token_auth": token_auth,
        },
        defaults=True,
        overwrite=True,
        quiet=True,
        unsafe=True,  # the template is ours and loads our extension
    )


def distribution_name(slug: str) -> str:
    """The slug, with a suffix if a dependency has that name: the service would replace it."""
    taken = set(re.findall(r"^([a-z0-9.-]+)==", DEV_LOCK.read_text(), re.MULTILINE))
    return f"{slug}-service" if slug in taken else slug


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


def toml_string(text: str) -> str:
    """The text as a TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def python_string(text: str) -> str:
    """The text as a Python literal as `ruff format` writes it: in the quotes that need fewer escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + "".join(_python_character(character, quote) for character in text) + quote


def markdown(text: str) -> str:
    """Markdown that shows the text literally, except that empty lines separate paragraphs."""
    return "\n".join(_markdown_line(line.strip()) for line in text.splitlines())


def _python_character(character: str, quote: str) -> str:
    if character in (quote, "\\"):
        return "\\" + character
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _markdown_line(line: str) -> str:
    escaped = _MARKDOWN_INLINE.sub(lambda match: "\\" + match[0], line)
    return _MARKDOWN_BLOCK.sub(lambda match: match[1] + "\\", escaped)


class Escapes(Extension):
    """Registers the escaping functions as template filters."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        for function in (summary, toml_string, python_string, markdown):
            environment.filters[function.__name__] = function

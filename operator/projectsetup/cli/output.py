"""Writing to standard output: text, JSON or YAML."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

import typer

from projectsetup.cli.errors import ExitCode

if TYPE_CHECKING:
    from rich.text import Text


class Format(StrEnum):
    """How a reading command shows what it read."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def is_screen(stream: TextIO) -> bool:
    """Whether what is written to `stream` is seen by a person, and can be drawn anew."""
    return stream.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}


def write(text: str) -> None:
    """Print one or more whole lines. Ends the command silently when nobody reads any more (`| head`)."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.BROKEN_PIPE) from None


def say(text: str) -> None:
    """One line for the person at standard error, beside the output."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def write_text(text: Text) -> None:
    """Print `text`, in colours on a terminal, never wrapped or cut."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(text, soft_wrap=True)
    write(captured.get())


def write_data(value: Any, output: Format, *, names: Iterable[str]) -> None:
    """Print a JSON value as one JSON or YAML document, or the names of what is in it, a line each."""
    if output is Format.NAME:
        if lines := "\n".join(names):
            write(lines)
        return
    if output is Format.JSON:
        write(json.dumps(value, indent=2, ensure_ascii=False))
        return
    import yaml

    write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))

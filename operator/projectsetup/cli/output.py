"""What commands print: lines of text, JSON and YAML. Nothing printed can be anything but text to a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TextIO

from projectsetup.api.constants import GROUP, SINGULAR
from projectsetup.text import without_harm

if TYPE_CHECKING:
    from rich.text import Text

LONGEST_LINE: Final = 1000


class OutputClosed(Exception):
    """Nobody reads standard output any more (`| head`)."""


class Format(StrEnum):
    """How a reading command prints what it read."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class LogFormat(StrEnum):
    """How `logs` prints lines."""

    TEXT = "text"
    JSON = "json"


def printable(value: object) -> str:
    """`value` on one line, without control characters: no escape sequence of another program reaches the terminal."""
    return without_harm(" ".join(str(value).split()))


def one_line(value: object) -> str:
    """`value` as a message: printable, and of limited length."""
    line = printable(value)
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def full_name(name: str) -> str:
    """A ProjectSetup as `-o name` prints it: `projectsetup.codemyspec.com/ID`."""
    return f"{SINGULAR}.{GROUP}/{name}"


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that can redraw what it shows."""
    return stream.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}


def write(text: str) -> None:
    """Print one or more whole lines; OutputClosed if nobody reads them."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputClosed from None


def say(text: str) -> None:
    """Print one line for the user on standard error, beside the output."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def write_text(text: Text) -> None:
    """Print `text`, in colour on a terminal, never wrapped or cut."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(text, soft_wrap=True)
    write(captured.get())


def write_data(value: Any, output: Format, *, names: Iterable[str]) -> None:
    """Print a JSON value as one JSON or YAML document, or print `names`, one per line."""
    if output is Format.NAME:
        if lines := "\n".join(names):
            write(lines)
        return
    if output is Format.JSON:
        write(json.dumps(value, indent=2, ensure_ascii=False))
        return
    import yaml

    write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))

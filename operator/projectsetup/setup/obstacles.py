"""What stands in the way of a step and is not the project's fault: a full disk, a limit of the machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CANNOT_EXECUTE: Final = 126
"""Exit code of a shell for a program that is there and may not be executed."""

_TOLD: Final = {
    "the disk is full": re.compile(r"no space left on device", re.IGNORECASE),
    "a disk quota is exceeded": re.compile(r"disk quota exceeded", re.IGNORECASE),
    "too many files are open": re.compile(r"too many open files|shared object file: Error 24", re.IGNORECASE),
    "no process can be started": re.compile(
        r"cannot fork\b|can't start new thread|\b(?:fork|spawn)\b.*(?:resource temporarily unavailable|\bEAGAIN\b)",
        re.IGNORECASE,
    ),
    "there is not enough memory": re.compile(r"cannot allocate memory", re.IGNORECASE),
}
"""The words of the C library, which programs print in whatever language they are written."""
_NOT_EXECUTED: Final = re.compile(r"permission denied", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Volume:
    """The file system of a workspace, as a step left it."""

    full: bool = False
    read_only: bool = False
    no_exec: bool = False


NOTHING_SPECIAL: Final = Volume()


def obstacle(volume: Volume, exit_code: int | None, tail: Sequence[str]) -> str | None:
    """What stood in the way of a step that failed; `tail` are the last lines that it printed.

    The state of the volume comes first: what a program prints is only needed for what it freed before it ended, and
    for what no volume shows.
    """
    if volume.full:
        return "the disk is full"
    if volume.read_only:
        return "its workspace is mounted read-only"
    if volume.no_exec and (exit_code == CANNOT_EXECUTE or any(map(_NOT_EXECUTED.search, tail))):
        return "its workspace is mounted noexec"
    return next((what for what, words in _TOLD.items() if any(map(words.search, tail))), None)

"""What the script of a stage tells: the lines of its log that say where it is, and the report at its end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MARKER: Final = re.compile(rb"\[projectsetup\] step ([a-z0-9-]{1,63}) \((\d+)/(\d+)\)\r?\n?")


@dataclass(frozen=True, slots=True)
class StageReport:
    """The termination message of a stage: the step it ended with, how, and what its steps told.

    `text`: lines that may ask for another attempt, and the last ones that the failed step printed; with secrets.
    """

    step: str
    exit_code: int
    timed_out: bool
    outputs: Mapping[str, str]
    text: str


def step_begun(line: bytes) -> str | None:
    """The name of the step that this line of a container's log announces; None for any other line."""
    match = MARKER.fullmatch(line)
    return match[1].decode() if match else None

"""What the script of a stage tells: the lines of its log that say where it is, and the report at its end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from projectsetup.setup.obstacles import NOTHING_SPECIAL, Volume
from projectsetup.setup.outputs import read_outputs

_MARKER: Final = re.compile(rb"\[projectsetup\] step ([a-z0-9-]{1,63}) \(\d+/\d+\)\r?\n?")
_HEAD: Final = re.compile(
    r"step=(?P<step>[a-z0-9-]{1,63})\nexit=(?P<code>\d{1,3})\n(?P<late>timeout=1\n)?(?P<stopped>stopped=1\n)?"
    r"(?P<full>full=1\n)?(?P<readonly>readonly=1\n)?(?P<noexec>noexec=1\n)?"
)
_MATCH: Final = "match="


@dataclass(frozen=True, slots=True)
class StageReport:
    """The termination message of a stage: the step it ended with, how, and what its steps told.

    `stopped` tells that it ended after SIGTERM had come for the pod, so that its exit code says little. `matches` are
    lines in which the failed step's `retry` may find something, `tail` is the end of what it printed; both as they were
    printed. `volume` is the file system of the workspace after a failure.
    """

    step: str
    exit_code: int
    timed_out: bool
    stopped: bool
    outputs: Mapping[str, str]
    matches: tuple[str, ...]
    tail: str
    volume: Volume = NOTHING_SPECIAL


def step_begun(line: bytes) -> str | None:
    """The name of the step that this line of a container's log announces; None for any other line."""
    match = _MARKER.fullmatch(line)
    return match[1].decode() if match else None


def last_step_begun(log: str) -> str | None:
    """The step that these lines announce last."""
    begun = (step_begun(line.encode()) for line in reversed(log.splitlines()))
    return next((step for step in begun if step is not None), None)


def read_report(message: str) -> StageReport | None:
    """The report in a termination message; None when it is something else, such as where a script was killed."""
    head = _HEAD.match(message)
    if head is None:
        return None
    above, _, tail = message[head.end() - 1 :].partition("\n\n")
    matches = tuple(line.removeprefix(_MATCH) for line in above.splitlines() if line.startswith(_MATCH))
    succeeded = int(head["code"]) == 0
    outputs = read_outputs(message[head.end() :].encode()).facts if succeeded else {}
    return StageReport(
        step=head["step"],
        exit_code=int(head["code"]),
        timed_out=head["late"] is not None,
        stopped=head["stopped"] is not None,
        outputs=outputs,
        matches=matches,
        tail="" if succeeded else tail,
        volume=Volume(*(head[wrong] is not None for wrong in ("full", "readonly", "noexec"))),
    )

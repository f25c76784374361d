"""The facts that a step tells by writing `KEY=VALUE` lines to `$STEP_OUTPUTS`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CODE_COMMIT: Final = "CODE_COMMIT"
DOCS_COMMIT: Final = "DOCS_COMMIT"

OUTPUTS_BYTES: Final = 65_536
"""No more of the file is read."""

IGNORED_LINES: Final = 5
"""So many lines that are not understood are named."""

IGNORED: Final = (
    "[projectsetup] ignored in $STEP_OUTPUTS (expected CODE_COMMIT= or DOCS_COMMIT= and a full commit id): "
)
"""Begins the lines of an attempt's log that name them; stage.sh has it, too."""

_IGNORED_CHARACTERS: Final = 200
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True)
class StepOutputs:
    """The facts that are known and well formed, the last of each; and the first lines that are something else."""

    facts: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def read_outputs(content: bytes) -> StepOutputs:
    """What the file of a step says."""
    facts: dict[str, str] = {}
    ignored: list[str] = []
    for line in content[:OUTPUTS_BYTES].decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() in {CODE_COMMIT, DOCS_COMMIT} and _COMMIT.fullmatch(value.strip()):
            facts[key.strip()] = value.strip()
        elif line.strip() and len(ignored) < IGNORED_LINES:
            ignored.append(line.strip()[:_IGNORED_CHARACTERS])
    return StepOutputs(facts, tuple(ignored))

"""The facts that a step tells by writing `KEY=VALUE` lines to `$STEP_OUTPUTS`."""

from __future__ import annotations

import re
from typing import Final

CODE_COMMIT: Final = "CODE_COMMIT"
DOCS_COMMIT: Final = "DOCS_COMMIT"

OUTPUTS_BYTES: Final = 65_536
"""No more of the file is read."""

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def read_outputs(content: bytes) -> dict[str, str]:
    """The facts that are known and well formed, the last of each; everything else is passed over."""
    facts: dict[str, str] = {}
    for line in content[:OUTPUTS_BYTES].decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() in {CODE_COMMIT, DOCS_COMMIT} and _COMMIT.fullmatch(value.strip()):
            facts[key.strip()] = value.strip()
    return facts

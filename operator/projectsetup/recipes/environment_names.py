"""Names of environment variables: which a recipe may set, and which belong to the operator."""

from __future__ import annotations

import re

PARAMETER_PREFIX = "PARAM_"

_VALID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWNED = frozenset(
    {
        "ATTEMPT",
        "CODE_REPO",
        "DOCS_REPO",
        "GIT_ALLOW_PROTOCOL",
        "GIT_ASKPASS",
        "GIT_PROTOCOL_FROM_USER",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
        "GIT_TERMINAL_PROMPT",
        "HOME",
        "SSH_ASKPASS",
        "STEP_OUTPUTS",
        "TMPDIR",
        "WORKSPACE",
    }
)
_OWNED_PREFIXES = ("PROJECT_", PARAMETER_PREFIX, "GIT_CONFIG")


def parameter_variable(name: str) -> str:
    """The variable in which a step finds a parameter: `license` is `PARAM_LICENSE`."""
    return PARAMETER_PREFIX + name.upper()


def refusal_of_variable(name: str) -> str | None:
    """Why a recipe may not set this variable; None when it may."""
    if not _VALID.fullmatch(name):
        return "must be the name of an environment variable: letters, digits and '_', not beginning with a digit"
    if name in _OWNED or name.startswith(_OWNED_PREFIXES):
        return "is set by the operator and cannot be changed by a recipe"
    return None

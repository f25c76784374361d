"""How a step command fails (one line on standard error and an exit code), and the variables that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPORARY = 75
"""EX_TEMPFAIL: the operator makes another attempt."""


class CommandError(Exception):
    """The command failed, and another attempt would fail the same way."""

    exit_code = 1


class TemporaryError(CommandError):
    """The network or the machine failed; another attempt may succeed."""

    exit_code = TEMPORARY


def required_variable(environment: Mapping[str, str], name: str) -> str:
    """A variable that the operator sets for every step. Raises CommandError when it is unset or empty."""
    value = environment.get(name)
    if not value:
        raise CommandError(f"the variable {name} is not set: run this as a step of a recipe")
    return value

"""How a command of a step ends when it fails: one line on standard error and an exit code."""

from __future__ import annotations

TEMPORARY = 75
"""EX_TEMPFAIL: waiting may help, the operator makes another attempt."""


class CommandError(Exception):
    """A person is needed; another attempt would end the same way."""

    exit_code = 1


class TemporaryError(CommandError):
    """The network or the machine: another attempt may succeed."""

    exit_code = TEMPORARY

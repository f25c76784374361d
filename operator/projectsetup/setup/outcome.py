"""How a setup ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetupSucceeded:
    """All steps are done; the commits are those that the steps told."""

    code_commit: str | None = None
    docs_commit: str | None = None


@dataclass(frozen=True, slots=True)
class SetupFailed:
    """A business failure: another attempt would end the same way."""

    step: str
    exit_code: int
    message: str


SetupOutcome = SetupSucceeded | SetupFailed

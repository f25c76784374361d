"""What every engine is told about an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class AttemptRef:
    """Attempt `number` of a project, asked for by the ProjectSetup `uid`, under the record's `fence`."""

    uid: str
    project_id: UUID
    number: int
    fence: int


class LeftRunning(Exception):
    """What runs the attempt was left alone, for the next operator to follow it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a ProjectSetup that is there tells: its uid, the name of its `run` if it has one, whether it is over."""

    uid: str
    run: str | None
    over: bool


LookUp = Callable[[str, str], Told | None]
"""The ProjectSetup with this namespace and name, as last seen; None when there is none."""


def run_name(project_id: UUID | str, number: int, fence: int, token: str) -> str:
    """The name of what runs an attempt; no two attempts have the same, since every claim has a fence of its own.

    `token` is what nobody can know beforehand, so that nobody can take the name.
    """
    return f"{run_prefix(project_id)}{number}-{fence}-{token}"


def run_prefix(project_id: UUID | str) -> str:
    """How the names of all that runs attempts of this project begin."""
    return f"setup-{project_id}-"

"""What every engine is told about an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
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
class Wanted:
    """What may go on: the names of `runs` that are told, and the projects whose setup is `unfinished`."""

    runs: Collection[str]
    unfinished: Collection[UUID]


def run_name(project_id: UUID, number: int, fence: int) -> str:
    """The name of what runs an attempt; no two attempts have the same, since every claim has a fence of its own."""
    return f"setup-{project_id}-{number}-{fence}"

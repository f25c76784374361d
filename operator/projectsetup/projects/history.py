"""The table `setup_attempts`: every attempt that has ended, of every ProjectSetup that a project has had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from projectsetup.projects.statements import ATTEMPT_COLUMNS, Statement

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.projects.database import Database

PAGE: Final = 1000
"""Attempts of a project that are read at most, the latest."""


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that has ended. None: not known, for example after a crash or from before an upgrade.

    `queued_at` is when its series began. `steps` are those that began, each `{name, startedAt, finishedAt}`. `outcome`
    and `reason` are the words of `.status.attempts`; `Returned` is an attempt that was stopped and does not count.
    """

    attempt: int
    outcome: str
    reason: str
    message: str
    finished_at: datetime
    started_at: datetime | None = None
    queued_at: datetime | None = None
    namespace: str | None = None
    setup_uid: str | None = None
    run_name: str | None = None
    step: str | None = None
    exit_code: int | None = None
    steps: Sequence[Mapping[str, Any]] = ()
    code_commit: str | None = None
    docs_commit: str | None = None
    recipe: str | None = None
    recipe_digest: str | None = None
    engine: str | None = None
    operator_version: str | None = None

    def to_row(self) -> dict[str, Any]:
        """The columns as JSON values."""
        row = asdict(self)
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


HISTORY: Final = Statement(
    f"""
SELECT {", ".join(ATTEMPT_COLUMNS)} FROM setup_attempts WHERE project_id = %(at_id)s
ORDER BY id DESC LIMIT {PAGE}
""",  # noqa: S608  # no input in it
    {},
    reads=True,
)


class History:
    """The attempts that have ended; every method may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, project_id: UUID) -> tuple[PastAttempt, ...]:
        """The attempts of this project, oldest first; of more than PAGE the latest."""
        rows = await self._database.rows(HISTORY, at_id=project_id)
        return tuple(PastAttempt(**_in_utc(row._asdict())) for row in reversed(rows))


def _in_utc(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row.items()}

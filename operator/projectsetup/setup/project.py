"""The project as the setup module needs to know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class SetupProject:
    """What is told to the steps; the repository URLs have been checked before."""

    id: UUID
    name: str
    slug: str
    description: str
    code_repo: str
    docs_repo: str | None

    @property
    def repositories(self) -> tuple[str, ...]:
        """The URLs of the repositories that it has."""
        return (self.code_repo, self.docs_repo) if self.docs_repo else (self.code_repo,)

"""The projects as this operator's own claims have left them, so that they need not be read again."""

from __future__ import annotations

from dataclasses import dataclass, field

from projectsetup.controller.queue import Key
from projectsetup.projects.model import Project


@dataclass(slots=True)
class KnownProjects:
    """What stands here may be out of date: who has written meanwhile has moved the fence.

    So it may only lead to writes under its fence. It is forgotten before each of them, and read anew where one fails.
    """

    _known: dict[Key, tuple[str, Project]] = field(default_factory=dict)

    def claimed(self, key: Key, uid: str, project: Project) -> None:
        """The ProjectSetup with this key and uid has claimed the project."""
        self._known[key] = (uid, project)

    def get(self, key: Key, uid: str) -> Project | None:
        """The project as that claim has left it; None when it must be read."""
        owner, project = self._known.get(key, ("", None))
        return project if owner == uid else None

    def forget(self, key: Key) -> None:
        """The project is about to change, or is no longer of interest."""
        self._known.pop(key, None)

"""A project that is ready, and a ProjectSetup that asks for it: success where it asks for what was done."""

from __future__ import annotations

from projectsetup.api.models import Commits, ProjectSetupResource
from projectsetup.controller.attempt_end import AttemptEnd, EndKind
from projectsetup.projects.model import Project

_SHOWN = 64
"""Characters of a parameter's value that a message shows."""


def done_commits(resource: ProjectSetupResource, project: Project) -> Commits | None:
    """The commits of the setup that was done, for those of the project's own namespace."""
    done = _done(project)
    return done.commits if done is not None and project.namespace == resource.namespace else None


def difference(resource: ProjectSetupResource, project: Project) -> str | None:
    """How what is asked for differs from what the ready project was set up with.

    None where nothing does, as far as the history tells: what was set up by an older version, or marked by hand,
    matches.
    """
    done, spec = _done(project), resource.spec
    if done is None or done.recipe is None or spec is None:
        return None
    if done.recipe != spec.recipe:
        return f"it was set up with recipe {done.recipe}, this ProjectSetup asks for recipe {spec.recipe}"
    before, now = done.parameters or {}, spec.parameters
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not names:
        return None
    asked, had = (", ".join(_shown(name, values.get(name)) for name in names) for values in (now, before))
    return f"it was set up with {had}, this ProjectSetup asks for {asked}"


def _done(project: Project) -> AttemptEnd | None:
    if not project.attempt_result:
        return None
    end = AttemptEnd.from_result(project.attempt_result)
    return end if end.kind is EndKind.SUCCEEDED else None


def _shown(name: str, value: str | None) -> str:
    if value is None:
        return f"no {name}"
    return f"{name}={value if len(value) <= _SHOWN else value[:_SHOWN] + '…'!r}"

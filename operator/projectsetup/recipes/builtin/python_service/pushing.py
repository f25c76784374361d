"""Hands the commits to the project's repositories, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectsetup.recipes.builtin.python_service.remote import Remote, RemoteState

if TYPE_CHECKING:
    from pathlib import Path

    from projectsetup.recipes.builtin.python_service.project import Project


def push_all(project: Project, workspace: Path, outputs: Path) -> None:
    """Looks at every repository before it pushes to any, and writes each commit that arrived to `outputs`.

    Raises CommandError when a repository holds other history or refuses, TemporaryError when one is out of reach.
    """
    code = Remote("code repository", workspace / "code", project.code_repo)
    docs = Remote("documentation repository", workspace / "docs", project.docs_repo) if project.docs_repo else None
    remotes = {"CODE_COMMIT": code} | ({"DOCS_COMMIT": docs} if docs else {})
    states = {key: remote.look() for key, remote in remotes.items()}
    for key, remote in remotes.items():
        if states[key] is RemoteState.PUSHED:
            print(f"{remote.title}: already holds {remote.commit}")
        else:
            remote.push()
            print(f"{remote.title}: pushed {remote.commit}")
        with outputs.open("a") as file:
            file.write(f"{key}={remote.commit}\n")
    if not docs:
        print("the project has no documentation repository: nothing to push there")

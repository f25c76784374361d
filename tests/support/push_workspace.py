"""Two bare repositories, and a workspace whose commits the last step of `python-service` pushes to them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from projectsetup.recipes.commands.remote import Remote
from projectsetup.recipes.commands.repositories import FreshRepository, UntrustedRepository
from projectsetup.recipes.generator.commits import commit_all
from projectsetup.recipes.loader import RecipeBook
from tests.support.recipe_steps import Attempt, parameters

RECIPE = RecipeBook().get("python-service")
CODE, DOCS = "code.git", "docs.git"


@dataclass
class PushWorkspace:
    """Two bare repositories, and a workspace whose commits are ready to be pushed."""

    place: Path
    printed: str = ""
    """What the last push printed."""

    def __post_init__(self) -> None:
        for name in (CODE, DOCS):
            git(self.place, "init", "--quiet", "--bare", name)
        for name in ("code", "docs"):
            folder = self.place / "workspace" / name
            folder.mkdir(parents=True)
            (folder / "file").write_text(name)
            commit_all(folder, "Set up")

    def url(self, name: str) -> str:
        return f"file://{self.place / name}"

    def remote(self) -> Remote:
        fresh = FreshRepository(self.place / "fresh", UntrustedRepository(self.place / "workspace", "code"), "main")
        return Remote("code repository", fresh, self.url(CODE))

    def commit_again(self, **given: str) -> str:
        """Make the commits again with the recipe's own step and these parameters; returns the id for `code`."""
        for name in ("code", "docs"):
            shutil.rmtree(self.place / "workspace" / name / ".git")
        attempt = Attempt(self.place / "workspace", self._variables(parameters(RECIPE, **given)))
        assert attempt.run(RECIPE.steps[-2]) == 0, attempt.printed
        return self.commit("code", given.get("branch", "main"))

    def push(
        self, *, code: str | None = None, docs: str | None = None, branch: str = "main", **environment: str
    ) -> tuple[int, str, dict[str, str]]:
        """Exit code, last line and outputs of the step; `environment` is added to what it sees."""
        variables = self._variables(parameters(RECIPE, branch=branch))
        variables |= {name: url for name, url in (("CODE_REPO", code), ("DOCS_REPO", docs)) if url is not None}
        attempt = Attempt(self.place / "workspace", variables | environment)
        exit_code = attempt.run(RECIPE.steps[-1])
        self.printed = attempt.printed[-1]
        assert "Traceback" not in self.printed
        return exit_code, self.printed.splitlines()[-1], attempt.outputs

    def _variables(self, given: dict[str, str]) -> dict[str, str]:
        urls = {"CODE_REPO": self.url(CODE), "DOCS_REPO": self.url(DOCS)}
        return {"PROJECT_NAME": "Orders", "PROJECT_SLUG": "orders", **urls, **given}

    def commit(self, name: str, branch: str = "main") -> str:
        return git(self.place / "workspace" / name, "rev-parse", branch)

    def references(self, name: str) -> str:
        return git(self.place / name, "for-each-ref", "--format=%(objectname) %(refname)")

    def put_foreign(self, name: str, reference: str = "refs/heads/main", *, parents: tuple[str, ...] = ()) -> str:
        """Somebody else's commit in one of the bare repositories; returns all its references."""
        identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
        tree = git(self.place / name, "hash-object", "-t", "tree", "-w", "--stdin")
        commit = git(
            self.place / name, *identity, "commit-tree", "-m", "theirs", tree, *(f"-p{parent}" for parent in parents)
        )
        git(self.place / name, "update-ref", reference, commit)
        return self.references(name)

    def put_hook(self, name: str, event: str, script: str) -> Path:
        hook = self.place / name / "hooks" / event
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)
        return hook


def git(folder: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    ).stdout.strip()

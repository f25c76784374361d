"""A built-in recipe, run for real: its steps on two bare repositories, and a clone that only its README explains."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from devcluster.ports import free_port
from projectsetup.recipes.loader import RecipeBook
from projectsetup.recipes.model import Recipe, Step
from tests.support.recipe_steps import Attempt, parameters
from tests.support.toolchains import caches, folders_of_programs

NAME: Final = (
    """Orders "desk" {{ 7*7 }} $(touch pwned) `touch pwned`; it's \\ ünïcode & <b> 👩\u200d👧 می\u200cشود 5\u00a0€"""
)
DESCRIPTION: Final = 'What "it"\u00a0does: 👩\u200d👧 so\u00adft می\u200cشود\n\n- {{ cycler.__init__ }}'
LIMIT: Final = 30.0


@dataclass
class BuiltinService:
    """One recipe in a folder of its own; `program` starts the service in a clone, after the README's commands."""

    name: str
    program: tuple[str, ...]
    place: Path

    def __post_init__(self) -> None:
        self.place.mkdir()
        for name in ("code.git", "docs.git"):
            git(self.place, "init", "--quiet", "--bare", name)

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return RecipeBook().get(self.name)

    def step(self, name: str) -> Step:
        """The step of that name."""
        return next(step for step in self.recipe.steps if step.name == name)

    def attempt(self, number: int) -> Attempt:
        """An attempt in a new workspace; the project has the name of a dependency of all services."""
        workspace = self.place / f"workspace-{number}"
        workspace.mkdir()
        variables = {
            "PROJECT_ID": "00000000-0000-0000-0000-000000000001",
            "PROJECT_NAME": NAME,
            "PROJECT_SLUG": "fastapi" if self.name == "python-service" else "fastify",
            "PROJECT_DESCRIPTION": DESCRIPTION,
            "CODE_REPO": f"file://{self.place / 'code.git'}",
            "DOCS_REPO": f"file://{self.place / 'docs.git'}",
            "ATTEMPT": str(number),
            **caches(),
            **parameters(self.recipe),
        }
        return Attempt(workspace, variables, programs=folders_of_programs(self.name))

    @cached_property
    def attempts(self) -> tuple[Attempt, Attempt]:
        """The same project, set up twice into the same repositories; the second finds them pushed."""
        first, second = self.attempt(1), self.attempt(2)
        first.run_all(self.recipe)
        umask = os.umask(0o077)
        try:
            second.run_all(self.recipe)
        finally:
            os.umask(umask)
        return first, second

    @cached_property
    def clone(self) -> Path:
        """A checkout of what was pushed, after the commands of its README in an empty home."""
        assert self.attempts
        clone = self.place / "clone"
        git(self.place, "clone", "--quiet", "--branch=main", "code.git", str(clone))
        (commands,) = re.findall(r"```sh\n(.*?)```", (clone / "README.md").read_text(), re.DOTALL)
        *checks, token, start = commands.splitlines()
        assert token.startswith("export SERVICE_API_TOKEN="), token
        assert start in ("make run", "npm start"), start
        done = subprocess.run(
            ["sh", "-euxc", "\n".join(checks)],
            cwd=clone,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.checked = done.stdout
        assert done.returncode == 0, done.stdout
        return clone

    def environment(self) -> dict[str, str]:
        """Of a developer who has nothing but the toolchain: an empty home, none of the variables of a step."""
        home = self.place / "home"
        home.mkdir(exist_ok=True)
        of_a_step = self.attempts[0].environment()
        kept = {name: value for name, value in of_a_step.items() if not name.startswith(("PARAM_", "PROJECT_"))}
        return {**kept, "HOME": str(home), "TMPDIR": str(home)}

    def start_command(self) -> list[str]:
        """The command that starts the service in the clone."""
        program, *arguments = self.program
        inside = self.clone / program
        folders = (*folders_of_programs(self.name), Path("/usr/bin"))
        found = next((folder / program for folder in folders if (folder / program).exists()), inside)
        return [str(inside if inside.exists() else found), *arguments]

    @contextmanager
    def running(self, token: str) -> Iterator[str]:
        """The URL of the service, running; it must end by itself, and well, on SIGTERM."""
        port = free_port()
        environment = {"SERVICE_API_TOKEN": token, "SERVICE_PORT": str(port)}
        process = subprocess.Popen(self.start_command(), cwd=self.clone, env=environment)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_healthy(url, process)
            yield url
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) in (0, -signal.SIGTERM)
        finally:
            process.kill()
            process.wait()


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        assert process.poll() is None, f"the service ended with exit code {process.returncode}"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=LIMIT):  # noqa: S310  # our own service
                return
        except urllib.error.URLError:
            time.sleep(0.05)
    raise AssertionError(f"{url}/health did not answer within {LIMIT} s")


def git(folder: Path, *arguments: str) -> str:
    """The output of git."""
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

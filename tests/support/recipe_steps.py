"""Runs steps of a recipe by the contract: `sh -euc`, in one workspace, with a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projectsetup.recipes.model import Recipe, Step

_PASSED_ON = (
    "CERT",
    "PROXY",
    "PIP_",
    "UV_",
    "SSL_",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_REGISTRY",
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
)


@dataclass
class Attempt:
    """One workspace and the variables of one project."""

    workspace: Path
    variables: Mapping[str, str]
    printed: list[str] = field(default_factory=list)
    programs: tuple[Path, ...] = ()
    """Folders that PATH has besides those of the system."""

    @property
    def outputs(self) -> dict[str, str]:
        """What the steps wrote to STEP_OUTPUTS."""
        path = self.workspace / ".outputs"
        return dict(line.split("=", 1) for line in path.read_text().splitlines()) if path.exists() else {}

    def run(self, step: Step) -> int:
        """Run the step; returns its exit code and appends its output to `printed`."""
        done = subprocess.run(
            ["sh", "-euc", step.run],
            cwd=self.workspace,
            env=self.environment(credentials=step.credentials) | step.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=step.timeout.total_seconds(),
            check=False,
        )
        self.printed.append(done.stdout)
        return done.returncode

    def run_all(self, recipe: Recipe) -> None:
        """Run every step; raises an AssertionError with the output of the first that fails."""
        for step in recipe.steps:
            assert self.run(step) == 0, f"step {step.name} failed:\n{self.printed[-1]}"

    def environment(self, *, credentials: bool = False) -> dict[str, str]:
        """The environment of a step."""
        passed_on = {name: value for name, value in os.environ.items() if name.upper().startswith(_PASSED_ON)}
        home = self.workspace.parent / "private" if credentials else self.workspace / ".home"
        home.mkdir(exist_ok=True)
        return {
            "UV_CACHE_DIR": uv_cache(),
            **passed_on,
            "PATH": ":".join(
                map(str, (Path(sys.executable).parent, *self.programs, "/usr/local/bin", "/usr/bin", "/bin"))
            ),
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(home),
            "GIT_ALLOW_PROTOCOL": "file:http",
            "WORKSPACE": str(self.workspace),
            "STEP_OUTPUTS": str(self.workspace / ".outputs"),
            **self.variables,
        }


def parameters(recipe: Recipe, **given: str) -> dict[str, str]:
    """The variables of all parameters, defaults filled in."""
    return {f"PARAM_{name.upper()}": value for name, value in recipe.check_parameters(given).items()}


@cache
def uv_cache() -> str:
    """The uv cache of this user."""
    command = [sys.executable, "-m", "uv", "cache", "dir"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

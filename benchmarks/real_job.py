"""Overhead on the real job: `python-service` through the operator, beside its steps in one shell script."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg

from benchmarks.arena import Arena, Process, until
from benchmarks.figures import Comparison, Contender, Findings, at_most
from benchmarks.throughput import OURS
from benchmarks.wire import COLLECTION
from projectsetup.recipes.loader import RecipeBook
from projectsetup.setup.environment import inherited_environment, project_environment
from projectsetup.setup.git import git_access
from projectsetup.setup.types import SetupProject

RECIPE: Final = "python-service"
SCRIPT: Final = "one shell script"
TEXT: Final = """\
The built-in recipe `python-service`: a service is generated, installed, compiled, type-checked, tested, committed
and pushed to two bare repositories on this machine. Through the operator it is counted from the creation of the
ProjectSetup until `Succeeded` is in `.status`; the shell script runs the same seven steps with the same environment
in a fresh folder, and is counted from its start until its folder is removed. {rounds} rounds in turn after one that
warms the caches."""


def measure(*, quick: bool) -> Findings:
    """Ours and the script in turn."""
    rounds = 1 if quick else 7
    ours: list[float] = []
    script: list[float] = []
    with Arena.open() as arena, arena.operator({"PROJECTSETUP_ALLOW_FILE_REPOS": "true"}) as operator:
        for number in range(rounds + (0 if quick else 1)):
            ours.append(_through_the_operator(arena, operator))
            script.append(_as_a_script(arena.folder / f"script-{number}"))
    ours, script = ours[-rounds:], script[-rounds:]
    contenders = [Contender(name=OURS, rounds=ours), Contender(name=SCRIPT, rounds=script)]
    comparison = Comparison(title=f"One {RECIPE}", unit="s", contenders=contenders)
    ratio = contenders[0].typical / contenders[1].typical
    return Findings(
        title="Overhead on the real job",
        text=TEXT.format(rounds=rounds),
        goals=[at_most("time of the real job beside its steps in one shell script", 1.03, ratio, "times")],
        comparisons=[comparison],
    )


def _through_the_operator(arena: Arena, operator: Process) -> float:
    (name,) = arena.projects(1)
    code, docs = _repositories(arena.folder / name)
    with psycopg.connect(arena.cluster.database_url) as connection:
        change = "UPDATE projects SET name = 'Order Service', code_repo = %s, docs_repo = %s WHERE id = %s::uuid"
        connection.execute(change, [code, docs, name])

    def phase() -> str:
        return str(arena.wire.get(f"{COLLECTION}/{name}").get("status", {}).get("phase"))

    began = time.perf_counter()
    arena.create([name], RECIPE)
    until(lambda: phase() in {"Succeeded", "Failed"}, f"{RECIPE} to be over", alive=operator, every=0.02)
    took = time.perf_counter() - began
    if phase() != "Succeeded":
        raise RuntimeError(f"{RECIPE} failed: {arena.wire.get(f'{COLLECTION}/{name}')['status']}")
    arena.clear()
    return took


def _as_a_script(folder: Path) -> float:
    workspace = folder / "workspace"
    for made in (folder, workspace, workspace / ".home", workspace / ".tmp"):
        made.mkdir()
    code, docs = _repositories(folder)
    project = SetupProject(
        id=UUID(int=7), name="Order Service", slug="order-service", description="", code_repo=code, docs_repo=docs
    )
    recipe = RecipeBook(None).get(RECIPE)
    access = git_access(project.repositories, None, folder, allow_file=True)
    environment = {
        **inherited_environment(os.environ),
        **project_environment(project, recipe.check_parameters({}), attempt=1, workspace=workspace),
        **access.environment,
        "STEP_OUTPUTS": str(folder / "outputs"),
    }
    script = folder / "setup.sh"
    script.write_text("set -eu\n" + "".join(f"sh -euc {shlex.quote(step.run)}\n" for step in recipe.steps))
    began = time.perf_counter()
    done = subprocess.run(
        ["/bin/sh", str(script)], env=environment, cwd=workspace, capture_output=True, text=True, check=False
    )
    shutil.rmtree(workspace)
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"the script failed: {done.stdout[-1000:]} {done.stderr[-1000:]}")
    return took


def _repositories(folder: Path) -> tuple[str, str]:
    folder.mkdir(exist_ok=True)
    git = shutil.which("git") or "git"
    for name in ("code", "docs"):
        subprocess.run([git, "init", "--quiet", "--bare", str(folder / f"{name}.git")], check=True)
    return f"file://{folder}/code.git", f"file://{folder}/docs.git"

"""Overhead on the real job: `python-service`, compared with its steps in one shell script or one bare Job."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg

from benchmarks.arena import COLLECTION, NAMESPACE, Arena, Process, until
from benchmarks.figures import Comparison, Contender, Findings, at_most
from benchmarks.node import Bench, Body, Names, node
from benchmarks.throughput import OURS
from images import TOOLCHAIN_OFFLINE, build
from projectsetup.engines.kubernetes_job.pod import OUTPUTS, ROOT, WORKSPACE, hardened_pod, literal
from projectsetup.recipes.loader import RecipeBook
from projectsetup.setup.environment import inherited_environment, project_environment
from projectsetup.setup.git import (
    PASSWORD_VARIABLE,
    USERNAME_VARIABLE,
    base_environment,
    credential_helpers,
    git_access,
)
from projectsetup.setup.types import SetupProject
from tests.support.git_host import GitHost, git_host
from tests.support.node.installed_recipes import UNVERIFIED, offline_recipe

RECIPE: Final = "python-service"
SCRIPT: Final = "one shell script"
TEXT: Final = """\
The built-in recipe `python-service`: a service is generated, installed, compiled, type-checked, tested, committed and
pushed to two bare repositories on this machine. With the operator, the time runs from the creation of the
ProjectSetup until `Succeeded` is in `.status`. The shell script runs the same seven steps with the same environment
in a fresh folder; its time includes the removal of that folder. {rounds} rounds in turn, after one that warms the
caches."""
ROUNDS: Final = 5
USERNAME, PASSWORD = "somebody", "a-password-of-no-value"
SECRET: Final = "git"  # noqa: S105  # its name
JOB_TEXT: Final = f"""\
The built-in recipe `python-service` as a Kubernetes Job on a real node, in the toolchain image with all packages
preinstalled, pushed over https to a git host on this machine. The bare Job is one container that runs the same seven
steps in one script with the same environment, workspace and restrictions, and can see the credentials throughout.
Ours has two containers, because only the step that pushes may see them; the kubelet checks containers once a second,
so the second one starts about a second later. Measured from the creation until a watch delivers the end; {ROUNDS}
rounds in turn, after a warm-up."""


def measure(*, quick: bool) -> Findings:
    """The operator and the script in turn."""
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
        goals=[at_most("duration relative to the same steps in one shell script", 1.03, ratio, "times")],
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
    until(lambda: phase() in {"Succeeded", "Failed"}, f"{RECIPE} to finish", alive=operator, every=0.02)
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


def measure_jobs(*, quick: bool) -> Findings:  # noqa: ARG001  # has no quick form and is then skipped
    """The operator and the bare Job in turn."""
    image = build((TOOLCHAIN_OFFLINE,))[TOOLCHAIN_OFFLINE]
    with (
        node({RECIPE: offline_recipe()}, images=(image,), concurrency=1) as bench,
        tempfile.TemporaryDirectory() as folder,
        git_host(Path(folder), username=USERNAME, password=PASSWORD, host=bench.cluster.gateway) as git,
    ):
        return _measure_on(bench, git)


def _measure_on(bench: Bench, git: GitHost) -> Findings:
    literals = [f"--from-literal=username={USERNAME}", f"--from-literal=password={PASSWORD}"]
    subprocess.run(
        [*bench.kubectl, f"--namespace={NAMESPACE}", "create", "secret", "generic", SECRET, *literals], check=True
    )
    spec = {"recipe": RECIPE, "credentialsSecretRef": {"name": SECRET}}
    ours = bench.setups(spec, lambda names: _make_projects(bench.cluster.database_url, git, names))
    bare = bench.jobs("bare Job of one script", lambda name: _bare_pod(git, name))
    for _ in range(ROUNDS + 1):
        for contender in (ours, bare):
            bench.measure(contender, 1)
    measured = [Contender(name=contender.name, rounds=contender.took[1:]) for contender in (ours, bare)]
    ratio = measured[0].typical / measured[1].typical
    return Findings(
        title="Overhead on the real job, as Kubernetes Jobs",
        text=JOB_TEXT,
        goals=[at_most("duration relative to a bare Job with the same steps", 1.03, ratio, "times")],
        comparisons=[Comparison(title=f"One {RECIPE} as a Job", unit="s", contenders=measured)],
    )


def _make_projects(database_url: str, git: GitHost, names: Names) -> None:
    with psycopg.connect(database_url) as connection:
        for name in names:
            code, docs = _hosted_repositories(git, name)
            connection.execute(
                "INSERT INTO projects (id, name, code_repo, docs_repo) VALUES (%s, %s, %s, %s)",
                (name, f"Order Service {name[:8]}", code, docs),
            )


def _bare_pod(git: GitHost, name: str) -> Body:
    code, docs = _hosted_repositories(git, name)
    slug = f"order-service-{name[:8]}"
    project = SetupProject(
        id=UUID(name), name=f"Order Service {name[:8]}", slug=slug, description="", code_repo=code, docs_repo=docs
    )
    recipe = RecipeBook(None).get(RECIPE)
    environment = {
        "LANG": "C.UTF-8",
        **project_environment(project, recipe.check_parameters({}), attempt=1, workspace=WORKSPACE),
        **base_environment(allow_file=False),
        **credential_helpers(project.repositories),
        **UNVERIFIED,
        "STEP_OUTPUTS": OUTPUTS,
    }
    login = {USERNAME_VARIABLE: "username", PASSWORD_VARIABLE: "password"}
    steps = "".join(f"sh -euc {shlex.quote(step.run)}\n" for step in recipe.steps)
    container = {
        "name": "main",
        "image": TOOLCHAIN_OFFLINE,
        "command": ["sh", "-euc", f'mkdir -p "$HOME" "$TMPDIR"\ncd "$WORKSPACE"\n{steps}'],
        "env": [
            *({"name": key, "value": literal(value)} for key, value in environment.items()),
            *(
                {"name": variable, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}}
                for variable, key in login.items()
            ),
        ],
        "resources": recipe.resources.model_dump(exclude_none=True),
        "volumeMounts": [{"name": "work", "mountPath": str(ROOT)}],
        "terminationMessagePath": OUTPUTS,
    }
    return {**hardened_pod(container), "volumes": [{"name": "work", "emptyDir": {}}]}


def _hosted_repositories(git: GitHost, name: str) -> tuple[str, str]:
    return git.repository(f"{name}-code.git"), git.repository(f"{name}-docs.git")

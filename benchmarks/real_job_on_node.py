"""Overhead on the real job as Kubernetes Jobs: `python-service` on a real node, beside a bare Job of its steps."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg

from benchmarks.figures import Comparison, Contender, Findings, at_most
from benchmarks.node import Bench, Body, Names, node
from benchmarks.wire import NAMESPACE
from images import TOOLCHAIN_OFFLINE, build
from projectsetup.engines.kubernetes_job.pod import OUTPUTS, ROOT, WORKSPACE, hardened_pod, literal
from projectsetup.recipes.loader import RecipeBook
from projectsetup.setup.environment import project_environment
from projectsetup.setup.git import PASSWORD_VARIABLE, USERNAME_VARIABLE, base_environment, credential_helpers
from projectsetup.setup.types import SetupProject
from tests.support.git_host import GitHost, git_host
from tests.support.node.installed_recipes import UNVERIFIED, offline_recipe

RECIPE: Final = "python-service"
ROUNDS: Final = 5
USERNAME, PASSWORD = "somebody", "a-password-of-no-value"
SECRET: Final = "git"  # noqa: S105  # its name
TEXT: Final = f"""\
The built-in recipe `python-service` as a Kubernetes Job, on a real node, in the toolchain image with all packages in
it, pushed over https to a git host on this machine. The bare Job is one container that runs the same seven steps in
one script with the same environment, workspace and restrictions, and has the credentials all the time. Ours has two
containers, since the step that pushes alone may have them: the kubelet, which looks at containers once a second,
starts the second one about a second later. Counted from the creation until a watch has told of the end; {ROUNDS}
rounds in turn after one that warms up."""


def measure(*, quick: bool) -> Findings:  # noqa: ARG001  # it has no small form, and is left out then
    """Ours and the bare Job in turn."""
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
        text=TEXT,
        goals=[at_most("time of the real job beside a bare Job of its steps", 1.03, ratio, "times")],
        comparisons=[Comparison(title=f"One {RECIPE} as a Job", unit="s", contenders=measured)],
    )


def _make_projects(database_url: str, git: GitHost, names: Names) -> None:
    with psycopg.connect(database_url) as connection:
        for name in names:
            code, docs = _repositories(git, name)
            connection.execute(
                "INSERT INTO projects (id, name, code_repo, docs_repo) VALUES (%s, %s, %s, %s)",
                (name, f"Order Service {name[:8]}", code, docs),
            )


def _bare_pod(git: GitHost, name: str) -> Body:
    code, docs = _repositories(git, name)
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


def _repositories(git: GitHost, name: str) -> tuple[str, str]:
    return git.repository(f"{name}-code.git"), git.repository(f"{name}-docs.git")

"""What docs/gitops.md promises about Flux, with its real controllers and a real operator (local engine)."""

from __future__ import annotations

import copy
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import yaml

from tests.support.api_server import CRD_FILE, ApiServer
from tests.support.config_repository import ConfigRepository, config_host
from tests.support.flux import NAMESPACE, Flux, flux
from tests.support.manifests import MANIFESTS, read
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.setup_handle import Setup, Steps

Body = dict[str, Any]

LIMIT: Final = 90.0
OPERATOR = "kustomization/projectsetup-operator"
SOURCE, KUSTOMIZATION = "gitrepository/team-a-projects", "kustomization/team-a-projects"
PASS_ON_RETRY: Final = '[ -e "$PARAM_PLACE/go" ] || exit 1'


@pytest.fixture(scope="module")
def controllers(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flux]:
    with flux(tmp_path_factory.mktemp("flux"), kubeconfig) as controllers:
        yield controllers


@pytest.fixture(scope="module")
def team(controllers: Flux, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConfigRepository]:
    """The repository of the team; the operator's one holds only the CRD, because there is no node for a pod."""
    with config_host(tmp_path_factory.mktemp("git")) as host:
        platform, projects = host.repository("platform"), host.repository("projects")
        platform.commit({"manifests/base/kustomization.yaml": yaml.safe_dump({"resources": [CRD_FILE.name]})})
        shutil.copy(CRD_FILE, platform.folder / "manifests" / "base")
        platform.commit_all()
        platform.git("tag", "v0.1.0")
        projects.commit({"setups/README": "one file per project\n"})
        for file, repository in (("operator.yaml", platform), ("projects.yaml", projects)):
            for body in copy.deepcopy(read(MANIFESTS / "flux" / file)):
                if body["kind"] == "GitRepository":
                    body["spec"]["url"] = repository.url
                controllers.kubectl("apply", "--filename=-", given=body)
        becomes_ready = f"Flux to apply the CRD: {OPERATOR}"
        wait_for(lambda: controllers.ready(OPERATOR).get("status") == "True", becomes_ready, limit=LIMIT)
        yield projects


@pytest.fixture(scope="module")
def sandbox(new_sandbox: NewSandbox, team: ConfigRepository) -> Iterator[Sandbox]:  # noqa: ARG001  # Flux applies the CRD first
    """The operator of the team's namespace."""
    with new_sandbox() as sandbox:
        sandbox.operator.configure(namespaces="team-a")
        sandbox.operator.start()
        yield sandbox


@pytest.fixture(scope="module")
def api(kubeconfig: Path) -> ApiServer:
    return ApiServer(kubeconfig, "team-a")


def file(project: str, recipe: str = "instant", **parameters: str) -> dict[str, str]:
    """A ProjectSetup as a file of the repository."""
    spec = {
        "project": {"name": project, "codeRepo": f"https://git.example.com/{project}.git"},
        "recipe": recipe,
        "parameters": parameters,
    }
    body = {"apiVersion": "codemyspec.com/v1alpha1", "kind": "ProjectSetup", "metadata": {"name": project}}
    return {f"setups/{project}.yaml": yaml.safe_dump({**body, "spec": spec})}


def becomes(controllers: Flux, ready: str, commit: str, about: str = "") -> Body:
    """The condition Ready of the Kustomization once it is this about the commit, with this in its message."""

    def holds() -> bool:
        condition, status = controllers.ready(KUSTOMIZATION), controllers.status(KUSTOMIZATION)
        attempted = str(status.get("lastAttemptedRevision", ""))
        return condition.get("status") == ready and attempted.endswith(commit) and about in condition["message"]

    try:
        wait_for(holds, f"the Kustomization to have Ready={ready} {about}", limit=LIMIT)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {json.dumps(controllers.status(KUSTOMIZATION))}") from None
    return controllers.ready(KUSTOMIZATION)


def deliver(controllers: Flux, team: ConfigRepository, *files: dict[str, str] | dict[str, None]) -> str:
    commit = team.commit({name: text for some in files for name, text in some.items()})
    controllers.reconcile(SOURCE)
    return commit


def attempts(sandbox: Sandbox, project: str) -> int:
    with psycopg.connect(sandbox.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM setup_attempts WHERE project_id = %s", (project,)).fetchone()
    assert row is not None
    return int(row[0])


def test_a_kustomization_is_ready_when_its_setups_have_succeeded_and_restores_them(
    controllers: Flux, team: ConfigRepository, sandbox: Sandbox, api: ApiServer, steps: Steps
) -> None:
    project = str(uuid.uuid4())
    gated = file(project, "gated", place=str(steps.folder))
    commit = deliver(controllers, team, gated)
    setup = Setup(sandbox, api, project)
    steps.await_start(setup)
    assert controllers.ready(KUSTOMIZATION)["status"] == "Unknown"
    setup.annotate(priority="0")
    setup.change(timeout="7m")
    steps.release()
    becomes(controllers, "True", commit)
    controllers.reconcile(KUSTOMIZATION)
    body = setup.body
    assert body["metadata"]["annotations"]["setup.codemyspec.com/priority"] == "0"
    assert body["spec"]["timeout"] == "7m"
    setup.delete()
    controllers.reconcile(KUSTOMIZATION)
    assert setup.ended()[0] == "AlreadySetUp"
    becomes(controllers, "True", commit)
    assert attempts(sandbox, project) == 1
    commit = deliver(controllers, team, dict.fromkeys(gated))
    controllers.reconcile(KUSTOMIZATION)
    becomes(controllers, "True", commit)
    wait_for(lambda: project not in api.select(""), "Flux to prune the ProjectSetup", limit=LIMIT)
    assert sandbox.record(project)["status"] == "ready"


def test_a_failed_setup_fails_the_kustomization_until_it_is_retried(
    controllers: Flux, team: ConfigRepository, sandbox: Sandbox, api: ApiServer, steps: Steps
) -> None:
    project = str(uuid.uuid4())
    commit = deliver(controllers, team, file(project, "scripts", first=PASS_ON_RETRY, place=str(steps.folder)))
    failed = becomes(controllers, "False", commit, "failed")
    assert f"ProjectSetup/team-a/{project}" in failed["message"]
    steps.release()
    setup = Setup(sandbox, api, project)
    setup.annotate(retry_requested_at="1")
    assert setup.ended_after_retry("1")[0] == "SetupSucceeded"
    controllers.reconcile(KUSTOMIZATION)
    becomes(controllers, "True", commit)


def test_a_changed_recipe_stops_the_whole_kustomization(
    controllers: Flux, team: ConfigRepository, sandbox: Sandbox, api: ApiServer
) -> None:
    project, other = str(uuid.uuid4()), str(uuid.uuid4())
    becomes(controllers, "False", deliver(controllers, team, file(project, "scripts", first="exit 1")), "failed")
    commit = deliver(controllers, team, file(project), file(other))
    becomes(controllers, "False", commit, "immutable")
    assert other not in api.select("")
    api.delete(project)
    controllers.reconcile(KUSTOMIZATION)
    becomes(controllers, "True", commit)
    assert Setup(sandbox, api, other).ended()[0] == "SetupSucceeded"
    assert Setup(sandbox, api, project).ended()[0] == "SetupSucceeded"


def test_removing_the_operator_keeps_the_crd(controllers: Flux, team: ConfigRepository) -> None:  # noqa: ARG001  # Flux has applied it
    controllers.kubectl("delete", OPERATOR, f"--namespace={NAMESPACE}")
    crd = controllers.kubectl.get("crd", "projectsetups.codemyspec.com")
    assert "deletionTimestamp" not in crd["metadata"]

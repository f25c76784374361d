"""What docs/gitops.md promises about Argo CD, with a real one, a real git host and a real operator (local engine)."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import yaml

from devcluster import Cluster
from tests.support import databases
from tests.support.api_server import CRD_FILE, ApiServer
from tests.support.argocd import FOLDER
from tests.support.argocd_server import NAMESPACE, ArgoCD, argocd, require_argocd
from tests.support.config_repository import ConfigHost, ConfigRepository, config_host
from tests.support.garbage_collector import garbage_collector
from tests.support.manifests import read
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import PREFIX, Sandbox
from tests.support.pages import code_blocks
from tests.support.setup_handle import Setup, Steps

Body = dict[str, Any]

Annotations = Mapping[str, str]

NONE: Final[Annotations] = {}
LIMIT: Final = 90.0
WAVE: Final = "argocd.argoproj.io/sync-wave"
HOOK: Final = "argocd.argoproj.io/hook"
MANY: Final = 200
PASS_ON_RETRY: Final = '[ -e "$PARAM_PLACE/go" ] || exit 1'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane that Argo CD has to itself, and that collects garbage."""
    require_argocd()
    folder = tmp_path_factory.mktemp("gitops")
    cluster = Cluster(folder / "cluster")
    cluster.up()
    try:
        with garbage_collector(folder, cluster.kubeconfig):
            yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCD]:
    with argocd(tmp_path_factory.mktemp("argocd"), cluster.kubeconfig) as server:
        yield server


@pytest.fixture(scope="module")
def sandbox(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """An operator for all namespaces."""
    folder = tmp_path_factory.mktemp("sandbox")
    with databases.new_database(cluster.database_url) as url:
        sandbox = Sandbox(folder, kubeconfig=cluster.kubeconfig, database_url=url, namespaces="", concurrency="12")
        sandbox.operator.start()
        yield sandbox
        sandbox.operator.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConfigHost]:
    with config_host(tmp_path_factory.mktemp("git")) as host:
        yield host


@dataclass(frozen=True, slots=True, eq=False)
class Team:
    """A team with a repository, a namespace and the Application of `projects-application.yaml`."""

    server: ArgoCD
    sandbox: Sandbox
    repository: ConfigRepository
    api: ApiServer
    name: str

    def file(
        self,
        project: str,
        script: str = ":",
        *,
        place: Path | None = None,
        suspend: bool = False,
        annotations: Annotations = NONE,
    ) -> dict[str, str]:
        """A ProjectSetup of the recipe `scripts` with one step, as a file of the repository."""
        spec: Body = {"recipe": "scripts", "parameters": {"first": script, "place": str(place or "")}}
        return self.setup(project, {"project": self.project(project), "suspend": suspend, **spec}, annotations)

    def gated(self, project: str, steps: Steps, annotations: Annotations = NONE) -> dict[str, str]:
        """A ProjectSetup whose only step waits for its release."""
        spec: Body = {"recipe": "gated", "parameters": {"place": str(steps.folder)}}
        return self.setup(project, {"project": self.project(project), **spec}, annotations)

    def instant(self, project: str) -> dict[str, str]:
        """A ProjectSetup whose only step succeeds at once."""
        return self.setup(project, {"project": self.project(project), "recipe": "instant"})

    @staticmethod
    def project(project: str) -> Body:
        """`spec.project`."""
        return {"name": project, "codeRepo": f"https://git.example.com/{project}.git"}

    def setup(self, project: str, spec: Body, annotations: Annotations = NONE) -> dict[str, str]:
        """A file of the repository with a ProjectSetup."""
        metadata = {"name": project, "annotations": dict(annotations)}
        body = {"apiVersion": "codemyspec.com/v1alpha1", "kind": "ProjectSetup", "metadata": metadata, "spec": spec}
        return {f"setups/{project}.yaml": yaml.safe_dump(body)}

    def deliver(self, *files: Mapping[str, str | None]) -> str:
        """Commit these files, and have Argo CD compare; the commit."""
        commit = self.repository.commit({name: text for some in files for name, text in some.items()})
        self.server.refresh(self.name)
        return commit

    def is_healthy(self, commit: str) -> None:
        """Wait until the commit is synced and everything in it is healthy."""

        def holds(status: Body) -> bool:
            sync = status.get("sync", {})
            return (sync.get("status"), sync.get("revision")) == ("Synced", commit) and self.health == "Healthy"

        self.server.wait_for(self.name, f"healthy at {commit}", holds, limit=LIMIT)

    @property
    def health(self) -> str:
        status: str = self.server.application(self.name)["status"].get("health", {}).get("status", "")
        return status

    def shows(self, project: str, health: str, *, limit: float = LIMIT) -> str:
        """Wait until Argo CD shows this health of a project; the message."""
        wait_for(lambda: self._shown(project).get("status") == health, f"{project} to be {health}", limit=limit)
        message: str = self._shown(project).get("message", "")
        return message

    def _shown(self, project: str) -> Body:
        found: Body = self.server.setups(self.name).get(project, {})
        return found

    def handle(self, project: str) -> Setup:
        """The ProjectSetup of a project."""
        return Setup(self.sandbox, self.api, project)

    def attempts(self, *projects: str) -> int:
        """How many attempts of these projects the record knows."""
        with psycopg.connect(self.sandbox.database_url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM setup_attempts WHERE project_id::text = ANY(%s)", (list(projects),)
            ).fetchone()
        assert row is not None
        return int(row[0])

    @staticmethod
    def phase(status: Body) -> str:
        """The phase of the last sync."""
        phase: str = status.get("operationState", {}).get("phase", "")
        return phase

    @staticmethod
    def message(status: Body) -> str:
        """What the last sync reported, of the whole and of each resource."""
        state = status.get("operationState", {})
        results = (state.get("syncResult") or {}).get("resources") or []
        return " ".join([state.get("message", ""), *(result.get("message", "") for result in results)])

    def act(self, action: str, project: str) -> None:
        """Run an action of Argo CD, as the page says."""
        options = ("--group", "codemyspec.com", "--kind", "ProjectSetup", "--resource-name", project)
        self.server.cli("app", "actions", "run", self.name, action, *options)


def new_ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


@pytest.fixture
def team(server: ArgoCD, sandbox: Sandbox, host: ConfigHost, cluster: Cluster) -> Iterator[Team]:
    name = f"team-{uuid.uuid4().hex[:8]}"
    repository = host.repository(name)
    repository.commit({"setups/README": "one file per project\n"})
    (application,) = read(FOLDER / "projects-application.yaml")
    application = copy.deepcopy(application)
    application["metadata"]["name"] = name
    application["spec"]["source"]["repoURL"] = repository.url
    application["spec"]["destination"]["namespace"] = name
    server.create(application)
    yield Team(server, sandbox, repository, ApiServer(cluster.kubeconfig, name), name)
    server.kubectl("delete", "application", name, f"--namespace={NAMESPACE}")
    server.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def test_projects_in_git_become_healthy_and_are_restored_without_another_run(team: Team) -> None:
    projects = new_ids(3)
    commit = team.deliver(*map(team.file, projects))
    team.is_healthy(commit)
    assert team.shows(projects[0], "Healthy").startswith("SetupSucceeded: ")
    labels = team.server.kubectl.get("namespace", team.name)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    uids = {project: team.api.get(project)["metadata"]["uid"] for project in projects}
    team.api.kubectl("delete", "projectsetups", "--all")

    def restored() -> bool:
        found = {
            item["metadata"]["uid"] for item in team.server.kubectl.get("projectsetups", f"-n={team.name}")["items"]
        }
        return len(found) == len(projects) and not found & set(uids.values())

    wait_for(restored, "Argo CD to restore the ProjectSetups", limit=LIMIT)
    for project in projects:
        assert team.handle(project).ended()[0] == "AlreadySetUp"
        assert team.shows(project, "Healthy").startswith("AlreadySetUp: ")
    team.is_healthy(commit)
    assert team.attempts(*projects) == len(projects)


def test_a_project_that_leaves_git_is_stopped_and_keeps_its_record(team: Team, steps: Steps) -> None:
    stays, ready, running = new_ids(3)
    gated = team.gated(running, steps)
    file = team.file(ready)
    team.deliver(team.file(stays), file, gated)
    team.shows(ready, "Healthy")
    steps.await_start(team.handle(running))
    team.deliver(dict.fromkeys([*file, *gated]))
    wait_for(lambda: team.api.select("") == {stays}, "Argo CD to prune the ProjectSetups", limit=LIMIT)
    wait_for(lambda: team.sandbox.record(running)["owner_uid"] is None, "the claim to be released")
    assert team.sandbox.record(ready)["status"] == "ready"
    team.is_healthy(team.deliver(file))
    assert team.shows(ready, "Healthy").startswith("AlreadySetUp: ")


def test_retry_and_cancel_from_argocd(team: Team, steps: Steps) -> None:
    failing, running = new_ids(2)
    team.deliver(team.file(failing, PASS_ON_RETRY, place=steps.folder), team.gated(running, steps))
    assert team.shows(failing, "Degraded").startswith("StepFailed: step first failed with exit code 1")
    steps.await_start(team.handle(running))
    team.act("cancel", running)
    assert team.shows(running, "Degraded").startswith("Cancelled: ")
    steps.release()
    team.act("retry", failing)
    assert team.shows(failing, "Healthy").startswith("SetupSucceeded: ")
    team.act("cancel", failing)  # disabled, but the command line runs it
    wait_for(lambda: "lastHandledCancel" in team.handle(failing).status, "the operator to answer the cancel")
    assert team.handle(failing).status["phase"] == "Succeeded"
    team.act("retry", running)
    assert team.shows(running, "Healthy").startswith("SetupSucceeded: ")


def test_what_people_set_survives_a_sync(team: Team, steps: Steps) -> None:
    project, other = new_ids(2)
    team.deliver(team.gated(project, steps, annotations={f"{PREFIX}priority": "2"}))
    setup = team.handle(project)
    steps.await_start(setup)
    setup.annotate(priority="0", note="mine")
    setup.change(timeout="7m")
    commit = team.deliver(
        team.file(other), team.gated(project, steps, annotations={f"{PREFIX}priority": "2", "team": "a"})
    )
    steps.release()
    team.is_healthy(commit)
    body = setup.body
    annotations = body["metadata"]["annotations"]
    assert (annotations[f"{PREFIX}priority"], annotations[f"{PREFIX}note"], annotations["team"]) == ("0", "mine", "a")
    assert body["spec"]["timeout"] == "7m"


def fail_in_the_first_wave(team: Team, steps: Steps) -> tuple[str, str]:
    """Two projects in two waves, of which the first has failed."""
    first, second = new_ids(2)
    team.deliver(
        team.file(first, PASS_ON_RETRY, place=steps.folder, annotations={WAVE: "0"}),
        team.file(second, annotations={WAVE: "1"}),
    )
    team.shows(first, "Degraded")
    steps.release()
    return first, second


def test_a_failed_wave_continues_after_a_retry(team: Team, steps: Steps) -> None:
    first, second = fail_in_the_first_wave(team, steps)
    assert team.api.select("") == {first}
    team.act("retry", first)
    team.shows(second, "Healthy")


def test_without_retries_of_the_sync_a_failed_wave_needs_another_sync(team: Team, steps: Steps) -> None:
    team.server.change(team.name, {"syncPolicy": {"retry": {"limit": 0, "refresh": None, "backoff": None}}})
    first, second = fail_in_the_first_wave(team, steps)
    team.server.wait_for(team.name, "failed", lambda status: team.phase(status) == "Failed", limit=LIMIT)
    team.act("retry", first)
    team.shows(first, "Healthy")
    team.server.refresh(team.name)
    assert team.phase(team.server.application(team.name)["status"]) == "Failed"
    assert team.api.select("") == {first}
    team.server.cli("app", "sync", team.name, "--async")
    team.shows(second, "Healthy")


def test_a_suspended_wave_blocks_the_sync(team: Team) -> None:
    first, second = new_ids(2)
    suspended = team.file(first, suspend=True, annotations={WAVE: "0"})
    commit = team.deliver(suspended, team.file(second, annotations={WAVE: "1"}))
    assert team.shows(first, "Suspended").startswith("Suspended: suspended by spec.suspend")
    team.server.refresh(team.name)
    assert team.phase(team.server.application(team.name)["status"]) == "Running"
    assert team.api.select("") == {first}
    team.handle(first).change(suspend=False)
    team.shows(second, "Healthy")
    team.handle(first).ended()
    assert team.server.application(team.name)["status"]["sync"]["revision"] == commit


def test_a_changed_recipe_is_refused_until_the_setup_is_deleted(team: Team) -> None:
    (project,) = new_ids(1)
    team.deliver(team.file(project, "exit 1"))
    team.shows(project, "Degraded")
    spec = {"project": team.project(project), "recipe": "instant"}
    team.deliver(team.setup(project, spec))
    refused = team.server.wait_for(
        team.name, "refused", lambda status: "immutable" in team.message(status), limit=LIMIT
    )
    assert "immutable" in team.message(refused)
    team.api.delete(project)
    assert team.shows(project, "Healthy").startswith("SetupSucceeded: ")
    assert team.handle(project).body["spec"]["recipe"] == "instant"


def test_a_reverted_recipe_needs_nothing_else(team: Team) -> None:
    (project,) = new_ids(1)
    file = team.file(project)
    team.is_healthy(team.deliver(file))
    team.deliver(team.setup(project, {"project": team.project(project), "recipe": "instant"}))
    team.server.wait_for(team.name, "refused", lambda status: "immutable" in team.message(status), limit=LIMIT)
    team.is_healthy(team.deliver(file))


def config_map(name: str, **data: str) -> dict[str, str]:
    """A ConfigMap as a file of the repository."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    return {f"setups/{name}.yaml": yaml.safe_dump(body)}


def test_a_hook_runs_once_and_lets_every_later_sync_pass(team: Team, steps: Steps) -> None:
    (project,) = new_ids(1)
    hook = team.gated(project, steps, annotations={HOOK: "PreSync"})
    commit = team.deliver(hook, config_map("application", revision="1"))
    steps.await_start(team.handle(project))
    assert "application" not in team.server.kubectl("get", "configmaps", f"-n={team.name}")
    steps.release()
    team.is_healthy(commit)
    assert team.handle(project).ended()[0] == "SetupSucceeded"
    team.is_healthy(team.deliver(config_map("application", revision="2")))
    assert team.handle(project).ended()[0] == "AlreadySetUp"
    assert team.attempts(project) == 1


def test_the_crd_stays_when_it_leaves_git(team: Team) -> None:
    crd, application = {"setups/crd.yaml": CRD_FILE.read_text()}, config_map("application")
    team.is_healthy(team.deliver(crd, application, config_map("other")))
    team.deliver(dict.fromkeys([*crd, *application]))
    listed = ("get", "configmaps", f"-n={team.name}")
    wait_for(lambda: "application" not in team.server.kubectl(*listed), "Argo CD to prune the rest", limit=LIMIT)
    assert "deletionTimestamp" not in team.server.kubectl.get("crd", "projectsetups.codemyspec.com")["metadata"]


def test_messages_are_those_of_the_last_refresh(team: Team, steps: Steps) -> None:
    (project,) = new_ids(1)
    team.deliver(team.gated(project, steps))
    steps.await_start(team.handle(project))
    assert team.shows(project, "Progressing").endswith("(as of the last refresh)")
    running = "Running: attempt 1 of 3: step wait (1 of 1) (as of the last refresh)"

    def shows_running_after_a_refresh() -> bool:
        team.server.refresh(team.name)
        return team.shows(project, "Progressing") == running

    wait_for(shows_running_after_a_refresh, f"Argo CD to show {running!r}", limit=LIMIT)


def test_the_settings_of_the_page_make_messages_live(team: Team, steps: Steps, tmp_path: Path) -> None:
    (settings,) = code_blocks("docs/gitops.md", "yaml", containing="ignoreDifferencesOnResourceUpdates")
    patch = tmp_path / "patch.yaml"
    patch.write_text(settings)
    before = team.server.settings()
    team.server.customize(patch)
    try:
        (project,) = new_ids(1)
        team.deliver(team.gated(project, steps))
        running = "Running: attempt 1 of 3: step wait (1 of 1) (as of the last refresh)"
        wait_for(lambda: team.shows(project, "Progressing") == running, f"Argo CD to show {running!r}")
    finally:
        patch.write_text(
            yaml.safe_dump({"data": {name: before.get(name) for name in yaml.safe_load(settings)["data"]}})
        )
        team.server.customize(patch)


def test_many_setups_cause_few_comparisons(team: Team, report_figures: Callable[[object], None]) -> None:
    projects = new_ids(MANY)
    before = team.server.comparisons(), team.server.processor_seconds()
    commit = team.deliver(*map(team.instant, projects))
    team.server.wait_for(team.name, "healthy", lambda _: team.health == "Healthy", limit=300.0)
    team.is_healthy(commit)
    compared, seconds = team.server.comparisons() - before[0], team.server.processor_seconds() - before[1]
    report_figures(f"{MANY} setups: {compared} comparisons, {seconds:.1f} s of processor time")
    assert compared < MANY

"""`setup`, `retry` and `cancel` on a real API server and PostgreSQL; the test plays the operator."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from projectsetup.api.constants import (
    BACKOFF,
    BACKOFF_MAX,
    CANCEL_REQUESTED_AT,
    MAX_ATTEMPTS,
    PRIORITY,
    RETRY_REQUESTED_AT,
)
from projectsetup.api.reasons import Reason
from tests.support.cli_fixtures import CliProject
from tests.support.setup_bodies import RUN, status

pytest_plugins = ["tests.support.cli_fixtures"]

QUEUED, RUNNING = status(Reason.QUEUED, "first in line"), status(Reason.RUNNING, "step test", run_ref=RUN, attempt=1)
FAILED = status(Reason.STEP_FAILED, "2 failed", attempt=1)
SUCCEEDED = status(Reason.SETUP_SUCCEEDED, "set up", attempt=1)


def test_setup_marks_the_project_and_creates_its_resource(project: CliProject) -> None:
    out = project.cli.ok("setup", project.id.upper(), "-n", project.namespace).out
    assert out == f"{project.named} created; project queued\n"
    assert project.records.get(project.id).status == "setup_queued"
    made = project.api.get(project.id)
    assert made["spec"] == {"recipe": "python-service", "parameters": {}, "suspend": False, "timeout": "30m"}
    assert "annotations" not in made["metadata"]


def test_setup_applies_its_options(project: CliProject) -> None:
    parameters = ("--param", "license=MIT", "--param", "text=a=b [c] $(d)")
    project("setup", "--recipe", "other", *parameters, "--priority", 0, "--max-attempts", 20, "--backoff", "1m30s")
    made = project.api.get(project.id)
    assert made["spec"]["recipe"] == "other"
    assert made["spec"]["parameters"] == {"license": "MIT", "text": "a=b [c] $(d)"}
    assert made["metadata"]["annotations"] == {PRIORITY: "0", MAX_ATTEMPTS: "20", BACKOFF: "1m30s"}
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("projectsetup-cli", "Apply")


def test_setup_again_keeps_earlier_options_and_those_of_others(project: CliProject) -> None:
    project("setup", "--priority", 3, "--param", "license=MIT")
    project.api.patch(project.id, {"metadata": {"annotations": {BACKOFF_MAX: "1h", "team": "blue"}}})
    project("setup")
    project("setup", "--max-attempts", 5)
    project("setup", "--priority", 2)
    assert project.annotations() == {PRIORITY: "2", MAX_ATTEMPTS: "5", BACKOFF_MAX: "1h", "team": "blue"}
    assert project.api.get(project.id)["spec"]["parameters"] == {"license": "MIT"}


def test_setup_again_while_it_runs_says_so_and_keeps_the_claim(project: CliProject) -> None:
    project("setup")
    claimed = project.claim()
    project.report(RUNNING)
    assert project("setup", "--priority", 0).out == f"{project.named} is already in progress: Running, attempt 1/3\n"
    assert project.records.get(project.id) == claimed
    assert project.annotations() == {PRIORITY: "0"}


def test_setup_after_a_failure_requests_a_retry(project: CliProject) -> None:
    project("setup", "--priority", 3)
    project.end(FAILED, "failed")
    assert project("setup").out == f"{project.named} starts a new series of attempts\n"
    marked = project.records.get(project.id)
    assert (marked.status, marked.owner) == ("setup_queued", None)
    first = project.annotations()
    assert (set(first), first[PRIORITY]) == ({PRIORITY, RETRY_REQUESTED_AT}, "3")
    project("setup")  # as after a crash between the two writes
    assert project.annotations()[RETRY_REQUESTED_AT] > first[RETRY_REQUESTED_AT]


def test_a_project_that_cannot_be_set_up_is_refused_and_nothing_is_created(project: CliProject) -> None:
    claimed = project.records.claim(project.id, "uid-1", project.namespace)
    owner = f"ProjectSetup {project.namespace}/{project.id}"
    assert project.refused(2, "setup") == f"project {project.id} is being set up by {owner}"
    project.records.end(claimed, "failed")
    before = project.records.get(project.id)
    elsewhere = project.cli.refused(2, "setup", project.id, "-n", "elsewhere")
    assert elsewhere.startswith(f"project {project.id} belongs to another namespace; ")
    assert project.records.get(project.id) == before
    project.records.delete(project.id)
    assert project.refused(2, "setup") == f"there is no project {project.id}"
    assert project.refused(2, "status").startswith("there is no ProjectSetup")


def test_a_resource_that_does_not_fit_is_refused_with_a_way_out(project: CliProject) -> None:
    project("setup", "--param", "license=MIT")
    before = project.records.get(project.id)
    way_out = f"delete it first: kubectl delete projectsetup {project.id} -n {project.namespace}"
    immutable = f"{project.title} uses recipe python-service, which cannot be changed; to use another recipe, {way_out}"
    assert project.refused(2, "setup", "--recipe", "other") == immutable
    assert project.records.get(project.id) == before
    project.end(SUCCEEDED, "ready")
    line = f"project {project.id} is ready; a setup can start from created, setup_queued or failed"
    assert project.refused(2, "setup") == line
    project.records.delete(project.id)
    project.cli.ok("projects", "create", "--name", "New", "--code-repo", "https://git.example/n", "--id", project.id)
    again = f"{project.title} has already succeeded; to set the project up again, {way_out}"
    assert project.refused(2, "setup") == again
    assert project.records.get(project.id).status == "created"
    project.api.delete(project.id)
    assert project("setup").out.endswith("created; project queued\n")


def test_a_request_that_the_api_server_refuses_leaves_the_project_unchanged(project: CliProject) -> None:
    assert 'spec.recipe: Invalid value: "No_Label": ' in project.refused(2, "setup", "--recipe", "No_Label")
    assert project.records.get(project.id).status == "created"


def test_a_namespace_that_does_not_exist_is_named(project: CliProject) -> None:
    assert 'namespaces "nix" not found' in project.cli.refused(2, "setup", project.id, "-n", "nix")
    assert project.records.get(project.id).status == "created"


def test_without_a_database_nothing_is_applied(project: CliProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1:1/d")
    assert project.refused(3, "setup").endswith("refuses connections: is it running?")
    monkeypatch.delenv("DATABASE_URL")
    assert project.refused(2, "setup").startswith("DATABASE_URL is not set")
    assert project.refused(2, "status").startswith("there is no ProjectSetup")


def test_retry_and_cancel_are_new_requests_each_time_and_say_their_effect(project: CliProject) -> None:
    project("setup", "--priority", 3)
    project.report(FAILED)
    assert project("retry").out == f"{project.title}: retry requested: a new series of attempts starts\n"
    first = project.annotations()
    assert (set(first), first[PRIORITY]) == ({PRIORITY, RETRY_REQUESTED_AT}, "3")
    project("retry")
    assert project.annotations()[RETRY_REQUESTED_AT] > first[RETRY_REQUESTED_AT]
    project.report(RUNNING)
    assert project("cancel").out == f"{project.title}: cancel requested: the running attempt is being stopped\n"
    assert set(project.annotations()) == {PRIORITY, RETRY_REQUESTED_AT, CANCEL_REQUESTED_AT}


@pytest.mark.parametrize("command", ["retry", "cancel", "status"])
def test_a_missing_resource_is_named_with_its_namespace(project: CliProject, command: str) -> None:
    absent = f"there is no ProjectSetup {project.id} in namespace"
    assert project.refused(2, command) == f"{absent} {project.namespace}"
    assert project.cli.refused(2, command, project.id) == f"{absent} default"


def test_the_namespace_is_that_of_the_context(
    project: CliProject, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = project.namespace
    mine = tmp_path / "config"
    mine.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(mine))
    assert project.cli.ok("setup", project.id).out == f"{project.named} created; project queued\n"
    assert project.id in project.cli.ok("status").out
    assert project.cli.ok("cancel", project.id).out.startswith(f"{project.title}: ")


def test_commands_take_the_name_of_the_project(project: CliProject) -> None:
    name = f"App {project.id}"  # no other namespace has such a project
    project.cli.ok("projects", "update", "App", f"--name={name}")
    created = f"{project.title} ({name}) created; project queued\n"
    assert project.cli.ok("setup", name, "-n", project.namespace).out == created
    project.report(RUNNING | {"projectName": name})
    for command, effect in (
        ("retry", "retry has no effect: the setup has not ended yet"),
        ("cancel", "cancel requested: the running attempt is being stopped"),
    ):
        assert project.cli.ok(command, name, "-n", project.namespace).out == f"{project.title} ({name}): {effect}\n"
    for place in (("-n", project.namespace), ("--all-namespaces",)):
        shown = project.cli.ok("status", name, *place, "-o", "json").json
        assert shown["metadata"]["name"] == project.id
    assert project.cli.ok("status", "-A", project.id, "-o", "name").out.endswith(f"/{project.id}\n")


@pytest.mark.parametrize(
    ("name", "words"), [("Order  Service", ()), ("--dash", ("--",)), ("ÄÖ: [x] $(y)", ()), ("job/0b6f1c1e", ())]
)
def test_a_name_may_be_any_text(project: CliProject, name: str, words: tuple[str, ...]) -> None:
    project.cli.ok("projects", "update", "App", f"--name={name}")
    assert project.cli.ok("setup", "-n", project.namespace, *words, name).out.endswith("created; project queued\n")
    project.report(RUNNING | {"projectName": name})
    shown = project.cli.ok("status", "-n", project.namespace, "-o", "json", *words, name).json
    assert shown["status"]["projectName"] == name


def test_a_name_that_nobody_has_is_refused_with_similar_ones(project: CliProject) -> None:
    unknown = f"no project is named 'Ap' in the database; did you mean 'App', {project.id}?"
    assert project.cli.refused(2, "setup", "Ap", "-n", project.namespace) == unknown
    assert project.cli.refused(2, "projects", "delete", "Ap") == unknown
    project("setup")
    project.report(RUNNING | {"projectName": "App"})
    near = f"in namespace {project.namespace}; did you mean 'App', {project.id} ({project.namespace})?"
    for command in ("status", "retry", "cancel"):
        assert project.cli.refused(2, command, "ap", "-n", project.namespace) == f"no project is named 'ap' {near}"


def test_a_name_that_several_setups_have_is_refused_with_their_ids(project: CliProject) -> None:
    project("setup")
    project.report(RUNNING | {"projectName": "App"})
    other = project.api.create(str(uuid4()))["metadata"]["name"]
    project.api.patch_status(other, RUNNING | {"projectName": "App"})
    line = project.cli.refused(2, "cancel", "App", "-n", project.namespace)
    places = "; ".join(f"{each} ({project.namespace})" for each in sorted([project.id, other]))
    assert line == f"2 projects are named 'App' in namespace {project.namespace}; use one of the ids: {places}"
    project.api.delete(other)

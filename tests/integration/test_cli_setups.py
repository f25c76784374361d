"""`setup`, `retry` and `cancel` on a real API server and PostgreSQL; the test plays the operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from tests.support.cli_scene import Scene
from tests.support.setup_bodies import RUN, status

pytest_plugins = ["tests.support.cli_fixtures"]

QUEUED, RUNNING = status(Reason.QUEUED, "first in line"), status(Reason.RUNNING, "step test", run_ref=RUN, attempt=1)
FAILED = status(Reason.STEP_FAILED, "2 failed", attempt=1)
SUCCEEDED = status(Reason.SETUP_SUCCEEDED, "set up", attempt=1)


def test_setup_marks_the_project_and_creates_its_resource(scene: Scene) -> None:
    out = scene.cli.ok("setup", scene.project.upper(), "-n", scene.namespace).out
    assert out == f"{scene.title} created; project queued\n"
    assert scene.records.get(scene.project).status == "setup_queued"
    made = scene.api.get(scene.project)
    assert made["spec"] == {"recipe": "python-service", "parameters": {}, "suspend": False, "timeout": "30m"}
    assert "annotations" not in made["metadata"]


def test_setup_applies_its_options(scene: Scene) -> None:
    parameters = ("--param", "license=MIT", "--param", "text=a=b [c] $(d)")
    scene("setup", "--recipe", "other", *parameters, "--priority", 0, "--max-attempts", 20, "--backoff", "1m30s")
    made = scene.api.get(scene.project)
    assert made["spec"]["recipe"] == "other"
    assert made["spec"]["parameters"] == {"license": "MIT", "text": "a=b [c] $(d)"}
    assert made["metadata"]["annotations"] == {PRIORITY: "0", MAX_ATTEMPTS: "20", BACKOFF: "1m30s"}
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("projectsetup-cli", "Apply")


def test_setup_again_keeps_earlier_options_and_those_of_others(scene: Scene) -> None:
    scene("setup", "--priority", 3, "--param", "license=MIT")
    scene.api.patch(scene.project, {"metadata": {"annotations": {BACKOFF_MAX: "1h", "team": "blue"}}})
    scene("setup")
    scene("setup", "--max-attempts", 5)
    scene("setup", "--priority", 2)
    assert scene.annotations() == {PRIORITY: "2", MAX_ATTEMPTS: "5", BACKOFF_MAX: "1h", "team": "blue"}
    assert scene.api.get(scene.project)["spec"]["parameters"] == {"license": "MIT"}


def test_setup_again_while_it_runs_says_so_and_keeps_the_claim(scene: Scene) -> None:
    scene("setup")
    claimed = scene.claim()
    scene.report(RUNNING)
    assert scene("setup", "--priority", 0).out == f"{scene.title} is already in progress: Running, attempt 1/3\n"
    assert scene.records.get(scene.project) == claimed
    assert scene.annotations() == {PRIORITY: "0"}


def test_setup_after_a_failure_requests_a_retry(scene: Scene) -> None:
    scene("setup", "--priority", 3)
    scene.end(FAILED, "failed")
    assert scene("setup").out == f"{scene.title} starts a new series of attempts\n"
    marked = scene.records.get(scene.project)
    assert (marked.status, marked.owner) == ("setup_queued", None)
    first = scene.annotations()
    assert (set(first), first[PRIORITY]) == ({PRIORITY, RETRY_REQUESTED_AT}, "3")
    scene("setup")  # as after a crash between the two writes
    assert scene.annotations()[RETRY_REQUESTED_AT] > first[RETRY_REQUESTED_AT]


def test_setup_of_a_project_that_is_ready_is_refused(scene: Scene) -> None:
    scene("setup")
    scene.end(SUCCEEDED, "ready")
    line = f"project {scene.project} is ready; a setup can start from created, setup_queued or failed"
    assert scene.refused(2, "setup") == line


def test_setup_of_a_claimed_project_is_refused_and_creates_nothing(scene: Scene) -> None:
    scene.records.claim(scene.project, "uid-1", scene.namespace)
    owner = f"ProjectSetup {scene.namespace}/{scene.project}"
    assert scene.refused(2, "setup") == f"project {scene.project} is being set up by {owner}"
    assert scene.refused(2, "status").startswith("there is no ProjectSetup")


def test_setup_of_a_project_of_another_namespace_is_refused_and_creates_nothing(scene: Scene) -> None:
    scene.records.end(scene.records.claim(scene.project, "uid-1", "elsewhere"), "failed")
    before = scene.records.get(scene.project)
    assert scene.refused(2, "setup").startswith(f"project {scene.project} belongs to another namespace; ")
    assert scene.refused(2, "status").startswith("there is no ProjectSetup")
    assert scene.records.get(scene.project) == before


def test_setup_of_a_missing_project_is_refused_and_creates_nothing(scene: Scene) -> None:
    scene.records.delete(scene.project)
    assert scene.refused(2, "setup") == f"there is no project {scene.project}"
    assert scene.refused(2, "status").startswith("there is no ProjectSetup")


def test_setup_after_a_success_requires_deleting_the_old_resource(scene: Scene) -> None:
    scene("setup")
    scene.end(SUCCEEDED, "ready")
    scene.records.delete(scene.project)
    scene.cli.ok("projects", "create", "--name", "New", "--code-repo", "https://git.example/n", "--id", scene.project)
    way_out = f"delete it first: kubectl delete projectsetup {scene.project} -n {scene.namespace}"
    assert scene.refused(2, "setup") == f"{scene.title} has already succeeded; to set the project up again, {way_out}"
    assert scene.records.get(scene.project).status == "created"
    scene.api.delete(scene.project)
    assert scene("setup").out.endswith("created; project queued\n")


def test_a_change_of_an_immutable_field_is_refused_with_a_way_out(scene: Scene) -> None:
    scene("setup", "--param", "license=MIT")
    before = scene.records.get(scene.project)
    assert scene.refused(2, "setup", "--recipe", "other") == (
        f"{scene.title} uses recipe python-service, which cannot be changed; to use another recipe, "
        f"delete it first: kubectl delete projectsetup {scene.project} -n {scene.namespace}"
    )
    assert scene.records.get(scene.project) == before


def test_a_request_that_the_api_server_refuses_leaves_the_project_unchanged(scene: Scene) -> None:
    assert 'spec.recipe: Invalid value: "No_Label": ' in scene.refused(2, "setup", "--recipe", "No_Label")
    assert scene.records.get(scene.project).status == "created"


def test_a_namespace_that_does_not_exist_is_named(scene: Scene) -> None:
    assert 'namespaces "nix" not found' in scene.cli.refused(2, "setup", scene.project, "-n", "nix")
    assert scene.records.get(scene.project).status == "created"


def test_without_a_database_nothing_is_applied(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1:1/d")
    assert scene.refused(3, "setup").endswith("refuses connections: is it running?")
    monkeypatch.delenv("DATABASE_URL")
    assert scene.refused(2, "setup").startswith("DATABASE_URL is not set")
    assert scene.refused(2, "status").startswith("there is no ProjectSetup")


@pytest.mark.parametrize(
    ("state", "effect"),
    [
        ({}, "retry has no effect: the setup has not ended yet"),
        (FAILED, "retry requested: a new series of attempts starts"),
        (SUCCEEDED, "retry ignored: the setup has already succeeded"),
    ],
)
def test_retry_is_a_new_request_each_time_and_says_its_effect(scene: Scene, state: dict[str, Any], effect: str) -> None:
    scene("setup", "--priority", 3)
    if state:
        scene.report(state)
    assert scene("retry").out == f"{scene.title}: {effect}\n"
    first = scene.annotations()
    assert (set(first), first[PRIORITY]) == ({PRIORITY, RETRY_REQUESTED_AT}, "3")
    scene("retry")
    assert scene.annotations()[RETRY_REQUESTED_AT] > first[RETRY_REQUESTED_AT]


@pytest.mark.parametrize(
    ("state", "effect"),
    [
        (QUEUED, "cancel requested: no attempt will start"),
        (RUNNING, "cancel requested: the running attempt is being stopped"),
        (FAILED, "cancel ignored: the setup has already ended"),
    ],
)
def test_cancel_says_its_effect(scene: Scene, state: dict[str, Any], effect: str) -> None:
    scene("setup")
    scene.report(state)
    assert scene("cancel").out == f"{scene.title}: {effect}\n"
    assert set(scene.annotations()) == {CANCEL_REQUESTED_AT}


@pytest.mark.parametrize("command", ["retry", "cancel", "status"])
def test_a_missing_resource_is_named_with_its_namespace(scene: Scene, command: str) -> None:
    absent = f"there is no ProjectSetup {scene.project} in namespace"
    assert scene.refused(2, command) == f"{absent} {scene.namespace}"
    assert scene.cli.refused(2, command, scene.project) == f"{absent} default"


def test_the_namespace_is_that_of_the_context(
    scene: Scene, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = scene.namespace
    mine = tmp_path / "config"
    mine.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(mine))
    assert scene.cli.ok("setup", scene.project).out == f"{scene.title} created; project queued\n"
    assert scene.project in scene.cli.ok("status").out
    assert scene.cli.ok("cancel", scene.project).out.startswith(f"{scene.title}: ")

"""`status`, without and with `--watch`, on a real API server."""

from __future__ import annotations

import pytest
import yaml

from projectsetup.api.reasons import Reason
from tests.support.cli_scene import Scene
from tests.support.setup_bodies import RUN, status

pytest_plugins = ["tests.support.cli_fixtures"]

RUNNING = status(Reason.RUNNING, "step test", run_ref=RUN, attempt=1, max_attempts=3)
FAILED = status(Reason.STEP_FAILED, "bad [red]\nthing\x1b[2J", attempt=1, max_attempts=3)
EMPTY_NAMESPACE = "kube-public"


@pytest.fixture
def scene(scene: Scene) -> Scene:
    """A project with a ProjectSetup."""
    scene("setup", "--priority", 0, "--param", "license=MIT")
    return scene


def test_one_namespace_or_all(scene: Scene) -> None:
    scene.report(FAILED)
    header, line = scene.cli.ok("status", "-n", scene.namespace).out.splitlines()
    assert header.split()[:3] == ["ID", "PHASE", "STATUS"]
    cells = line.split()
    assert (cells[0], cells[1], cells[5], cells[6]) == (scene.project, "Failed", "1/3", "0")
    assert line.endswith("StepFailed  bad [red] thing\ufffd[2J")
    everywhere = scene.cli.ok("status", "-A").out
    assert everywhere.startswith("NAMESPACE ")
    assert any(shown.split()[:2] == [scene.namespace, scene.project] for shown in everywhere.splitlines())


def test_an_empty_namespace_is_reported(scene: Scene) -> None:
    done = scene.cli("status", "-n", EMPTY_NAMESPACE)
    assert (done.code, done.out) == (0, "")
    assert done.err == f"no ProjectSetups found in namespace {EMPTY_NAMESPACE}\n"
    assert scene.cli.ok("status", "-n", EMPTY_NAMESPACE, "-o", "json").json["items"] == []


def test_json_and_yaml_are_the_raw_objects(scene: Scene) -> None:
    scene.report(RUNNING)
    stored = scene.api.get(scene.project)
    del stored["metadata"]["managedFields"]
    assert scene("status", "-o", "json").json == stored
    assert yaml.safe_load(scene("status", "-o", "yaml").out) == stored
    listed = scene.cli.ok("status", "-n", scene.namespace, "-o", "json").json["items"]
    assert listed == [stored]
    assert yaml.safe_load(scene.cli.ok("status", "-n", scene.namespace, "-o", "yaml").out)["items"] == listed


def test_one_in_detail(scene: Scene) -> None:
    assert "Message     waiting for the operator\n" in scene("status").out
    scene.report(FAILED)
    out = scene("status").out
    assert "Phase       Failed\n" in out
    assert "Parameters  license=MIT\n" in out
    assert "Stalled      True    StepFailed" in out

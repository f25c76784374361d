"""`status`, without and with `--watch`, on a real API server."""

from __future__ import annotations

import pytest
import yaml

from projectsetup.api.reasons import Reason
from tests.support.cli_fixtures import CliProject
from tests.support.setup_bodies import RUN, status

pytest_plugins = ["tests.support.cli_fixtures"]

RUNNING = status(Reason.RUNNING, "step test", run_ref=RUN, attempt=1, max_attempts=3)
FAILED = status(Reason.STEP_FAILED, "bad [red]\nthing\x1b[2J", attempt=1, max_attempts=3)
EMPTY_NAMESPACE = "kube-public"


@pytest.fixture
def project(project: CliProject) -> CliProject:
    """A project with a ProjectSetup."""
    project("setup", "--priority", 0, "--param", "license=MIT")
    return project


def test_one_namespace_or_all(project: CliProject) -> None:
    project.report(FAILED)
    header, line = project.cli.ok("status", "-n", project.namespace).out.splitlines()
    assert header.split()[:3] == ["ID", "PROJECT", "PHASE"]
    cells = line.split()
    assert (*cells[:3], *cells[6:8]) == (project.id, "-", "Failed", "1/3", "0")
    assert line.endswith("StepFailed  bad [red] thing\ufffd[2J")
    everywhere = project.cli.ok("status", "-A").out
    assert everywhere.startswith("NAMESPACE ")
    assert any(shown.split()[:2] == [project.namespace, project.id] for shown in everywhere.splitlines())


def test_an_empty_namespace_is_reported(project: CliProject) -> None:
    done = project.cli("status", "-n", EMPTY_NAMESPACE)
    assert (done.code, done.out) == (0, "")
    assert done.err == f"no ProjectSetups found in namespace {EMPTY_NAMESPACE}\n"
    assert project.cli.ok("status", "-n", EMPTY_NAMESPACE, "-o", "json").json["items"] == []


def test_json_and_yaml_are_the_raw_objects(project: CliProject) -> None:
    project.report(RUNNING)
    stored = project.api.get(project.id)
    del stored["metadata"]["managedFields"]
    assert project("status", "-o", "json").json == stored
    assert yaml.safe_load(project("status", "-o", "yaml").out) == stored
    listed = project.cli.ok("status", "-n", project.namespace, "-o", "json").json["items"]
    assert listed == [stored]
    assert yaml.safe_load(project.cli.ok("status", "-n", project.namespace, "-o", "yaml").out)["items"] == listed

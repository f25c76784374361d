"""Invalid requests are reported at once, in one line, and start nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.api_server import POLICY_FILE
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import PREFIX, Sandbox, message
from tests.support.setup_handle import Setup, Steps

POLICY = "validatingadmissionpolicybinding/projectsetup-annotations"


def refused(
    setup: Setup, expected: str, text: str, *, record: str | None, events: tuple[str, ...] = ("Failed",)
) -> None:
    why, status = setup.ended()
    assert (why, status["phase"], status["attempt"]) == (expected, "Failed", 0)
    assert text in message(status)
    assert "\n" not in message(status)
    failure = {"reason": expected, "message": message(status), "retryable": False}
    assert status["failure"] == failure
    assert status["finishedAt"]
    assert "runRef" not in status
    setup.wait_for_events(*events)
    if record is not None:
        row = setup.record
        assert row["status"] == record
        if record == "failed":
            assert row["setup_error"] == {"reason": expected, "step": None, "message": message(status)}


def test_a_project_that_does_not_exist_and_is_created_later(sandbox: Sandbox) -> None:
    project = str(uuid.uuid4())
    setup = Setup.make(sandbox, project=project)
    refused(setup, "ProjectNotFound", project, record=None)
    with psycopg.connect(sandbox.database_url) as connection:
        connection.execute(
            "INSERT INTO projects (id, name, code_repo) VALUES (%s, %s, '/nowhere/later.git')", (project, project)
        )
    setup.annotate(retry_requested_at="1")
    assert setup.ended_after_retry("1")[0] == "SetupSucceeded"


def test_a_project_in_a_state_without_a_start(sandbox: Sandbox) -> None:
    project = sandbox.project()
    with psycopg.connect(sandbox.database_url) as connection:
        connection.execute("UPDATE projects SET status = 'testing' WHERE id = %s", (project,))
    setup = Setup.make(sandbox, project=project)
    refused(setup, "ProjectInvalidState", "testing", record="testing")
    assert setup.status["projectStatus"] == "testing"


def test_a_broken_recipe(sandbox: Sandbox) -> None:
    refused(Setup.make(sandbox, "broken"), "InvalidSpec", "broken.yaml", record="failed")


def test_parameters_that_the_recipe_does_not_declare(sandbox: Sandbox) -> None:
    refused(Setup.make(sandbox, "licensed", license="no good!"), "InvalidSpec", "must match", record="failed")


@pytest.mark.parametrize(
    ("urls", "text"),
    [
        ({"code_repo": "ext::sh -c touch% /tmp/x"}, "must not use 'ext'"),
        ({"code_repo": "--upload-pack=touch /tmp/x"}, "must not begin with '-'"),
        ({"code_repo": "http://git.example/x"}, "must not use 'http'"),
        ({"docs_repo": "https://user:hunter22@git.example/x"}, "must not contain a password"),
    ],
)
def test_a_repository_url_that_bypassed_validation(sandbox: Sandbox, urls: dict[str, Any], text: str) -> None:
    setup = Setup.make(sandbox, project=sandbox.project(**urls))  # by plain SQL
    refused(setup, "InvalidSpec", text, record="failed")
    assert "hunter22" not in message(setup.status)


def test_a_corrected_spec_starts_on_a_retry(sandbox: Sandbox) -> None:
    setup = Setup.make(sandbox, spec={"credentialsSecretRef": sandbox.secret(username="bob")})
    refused(setup, "InvalidSpec", "holds a username and neither password nor token", record="failed")
    setup.change(credentialsSecretRef=None)
    setup.annotate(retry_requested_at="1")
    why, status = setup.ended_after_retry("1")
    assert (why, setup.record["status"], setup.record["setup_error"]) == ("SetupSucceeded", "ready", None)
    assert "failure" not in status


@pytest.fixture(scope="module")
def unpoliced(sandbox: Sandbox) -> Iterator[Sandbox]:
    """A cluster without the admission policy, or whose binding is removed for the test."""
    binding = sandbox.api.kubectl("get", POLICY, "--ignore-not-found", "-o", "yaml")
    sandbox.api.kubectl("delete", POLICY, "--ignore-not-found")
    wait_for(lambda: not sandbox.api.enforces_policy, "the policy to be inactive")
    yield sandbox
    if binding:
        sandbox.api.kubectl("apply", "-f", str(POLICY_FILE))


def test_invalid_annotations(unpoliced: Sandbox) -> None:
    priority = Setup.make(unpoliced, annotations={"priority": "10"})
    refused(priority, "InvalidSpec", f"annotation {PREFIX}priority is '10': must be 0 to 9", record="failed")
    retry = Setup.make(unpoliced, annotations={"retry_requested_at": "x" * 257})
    events = ("Failed", "RetryCoalesced")
    refused(retry, "InvalidSpec", "at most 256 characters", record="failed", events=events)


def test_an_annotation_that_becomes_invalid_ends_a_delay_and_no_attempt(unpoliced: Sandbox, steps: Steps) -> None:
    delayed = Setup.make(unpoliced, "scripts", first="exit 75", annotations={"backoff": "1h"})
    delayed.reached("BackingOff")
    delayed.annotate(priority="high")
    why, status = delayed.ended()
    assert (why, status["attempt"], delayed.record["status"]) == ("InvalidSpec", 1, "failed")
    running = Setup.gated(unpoliced, steps)
    steps.await_start(running)
    running.annotate(backoff="soon")
    Setup.make(unpoliced).ended()
    steps.release()
    assert running.ended()[0] == "SetupSucceeded"

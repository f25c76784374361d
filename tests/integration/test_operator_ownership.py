"""One ProjectSetup at a time owns a project: rivals, deletions, and claims whose owner is gone."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from tests.support.api_server import ApiServer, Body
from tests.support.command_line import CommandLine
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import Sandbox, message
from tests.support.setup_handle import Setup, Steps, condition


@pytest.fixture
def administrator(sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("DATABASE_URL", sandbox.database_url)
    monkeypatch.setenv("PROJECTSETUP_ALLOW_FILE_REPOS", "true")
    return CommandLine(capsys)


def is_free(setup: Setup) -> bool:
    record = setup.record
    return (record["owner_uid"], record["status"]) == (None, "created")


def wait_until_free(setup: Setup) -> None:
    wait_for(lambda: is_free(setup), f"project {setup.name} to be free")


def running(sandbox: Sandbox, steps: Steps) -> Setup:
    setup = Setup.gated(sandbox, steps)
    steps.await_start(setup)
    return setup


def test_a_taken_name_tells_whose_it_is_only_in_the_same_namespace(
    sandbox: Sandbox, other_namespace: ApiServer
) -> None:
    def requested(api: ApiServer, name: str) -> Setup:
        project = {"name": name, "codeRepo": f"https://git.example/{uuid.uuid4()}"}
        return Setup.make(sandbox, project=str(uuid.uuid4()), api=api, spec={"project": project})

    name, without_namespace = (f"{word} {uuid.uuid4()}" for word in ("Shop", "Nobody's"))
    holder, unassigned = requested(sandbox.api, name), sandbox.project(name=without_namespace)
    assert holder.ended()[0] == "SetupSucceeded"
    for api, wanted, expected in (
        (sandbox.api, name, f"project {name} ({holder.name}) already has this name: {name}"),
        (other_namespace, name, f"another project already has this name: {name}"),
        (sandbox.api, without_namespace, f"another project already has this name: {without_namespace}"),
    ):
        why, status = requested(api, wanted).ended()
        assert (why, message(status)) == ("InvalidSpec", f"spec.project: {expected}")
        assert unassigned not in str(status)


def test_an_administrator_moves_a_project_once_its_setup_has_ended(
    sandbox: Sandbox, other_namespace: ApiServer, steps: Steps, administrator: CommandLine
) -> None:
    owner = running(sandbox, steps)
    rival = Setup.make(sandbox, project=owner.name, api=other_namespace)
    rival.ended()
    move = ("projects", "update", owner.name, "--namespace", other_namespace.namespace)
    assert "is being set up (compiling)" in administrator.refused(2, *move)
    assert "is being set up (compiling)" in administrator.refused(2, "projects", "reset", owner.name)
    owner.annotate(cancel_requested_at="1")
    owner.ended()
    administrator.ok(*move)
    owner.annotate(retry_requested_at="1")
    assert owner.ended_after_retry("1")[0] == "ProjectClaimed"
    rival.annotate(retry_requested_at="1")
    assert rival.ended_after_retry("1")[0] == "SetupSucceeded"
    record = rival.record
    assert (record["status"], record["namespace"]) == ("ready", other_namespace.namespace)


def test_a_project_that_was_reset_is_set_up_again(sandbox: Sandbox, administrator: CommandLine) -> None:
    setup = Setup.make(sandbox)
    setup.ended()
    fence = setup.record["fence"]
    administrator.ok("projects", "reset", setup.name)
    record = setup.record
    assert (record["status"], record["owner_uid"], record["attempt"], record["attempt_result"]) == (
        "created", None, 0, None,
    )  # fmt: skip
    assert record["fence"] > fence
    setup.delete()
    assert Setup.make(sandbox, project=setup.name).ended()[0] == "SetupSucceeded"


def test_deleting_a_finished_setup_keeps_the_record(sandbox: Sandbox) -> None:
    ready, failed = Setup.make(sandbox), Setup.make(sandbox, "scripts", first="exit 1")
    for setup in (ready, failed):
        setup.ended()
        setup.delete()
    wait_for(lambda: ready.record["owner_uid"] is failed.record["owner_uid"] is None, "the owners to be cleared")
    assert (ready.record["status"], failed.record["status"]) == ("ready", "failed")
    assert failed.record["setup_error"]["reason"] == "StepFailed"
    assert Setup.make(sandbox, project=ready.name).ended()[0] == "AlreadySetUp"
    assert Setup.make(sandbox, project=failed.name).ended()[0] == "SetupSucceeded"


def test_a_deleted_setup_is_stopped_despite_a_foreign_finalizer(sandbox: Sandbox, steps: Steps) -> None:
    setup = running(sandbox, steps)
    setup.api.patch(setup.name, {"metadata": {"finalizers": ["example.com/hold"]}})
    setup.delete()
    wait_for(lambda: not list(sandbox.operator.workspaces.glob(f"*/{setup.name[:8]}-*")), "its workspace to be removed")
    setup.api.patch(setup.name, {"metadata": {"finalizers": None}})
    wait_until_free(setup)


def test_a_claim_whose_owner_is_gone_is_released(sandbox: Sandbox) -> None:
    project = sandbox.project()
    with psycopg.connect(sandbox.database_url) as connection:
        connection.execute(
            "UPDATE projects SET owner_uid = %s, owner_namespace = %s, owner_name = id, status = 'compiling'"
            " WHERE id = %s",
            (str(uuid.uuid4()), sandbox.api.namespace, project),
        )
    assert Setup.make(sandbox, project=project).ended()[0] == "SetupSucceeded"


DONE = {
    "second": ": one",
    "third": 'echo CODE_COMMIT=0123456789012345678901234567890123456789 > "$STEP_OUTPUTS"',
}


def test_what_a_recreated_resource_asks_for_is_compared_with_what_was_done(sandbox: Sandbox) -> None:
    first = Setup.make(sandbox, "scripts", parameters=DONE)
    done, record = first.ended()[1], first.record

    def again(recipe: str, parameters: dict[str, str], **spec: object) -> tuple[str, Body]:
        first.delete()
        return Setup.make(sandbox, recipe, project=first.name, parameters=parameters, spec=spec).ended()

    why, status = again("scripts", DONE)
    assert why == "AlreadySetUp"
    assert condition(status, "Ready")["status"] == "True"
    assert (status["phase"], status["attempt"], status["projectStatus"]) == ("Succeeded", 0, "ready")
    assert status["commits"] == done["commits"]
    assert not status.get("attempts")
    assert again("scripts", DONE, credentialsSecretRef={"name": "not-restored"})[0] == "AlreadySetUp"

    why, status = again("scripts", {**DONE, "second": ": two"})
    assert why == "ProjectInvalidState"
    assert "second=': one'" in message(status)
    assert "second=': two'" in message(status)
    why, status = again("instant", {})
    assert why == "ProjectInvalidState"
    assert "recipe scripts" in message(status)
    assert "recipe instant" in message(status)
    assert (first.record["status"], first.record["attempt_result"]) == ("ready", record["attempt_result"])

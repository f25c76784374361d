"""The attacker is a tenant who may create, change and delete ProjectSetups in namespace `team-b`, reads all there, and
knows the UUID of a project of team-a.

The attacker tries to take the project over, to stop its setup, to write into its record, and to read its name, its
repositories, its status or its owner.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from tests.support.api_server import ApiServer
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox, message
from tests.support.setup_handle import Setup, Steps

MENDED: Final = 'test -e "$PARAM_PLACE/mended" || exit 75'
SLOTS: Final = 2

PROJECT_FIELDS: Final = {"projectStatus", "projectName", "step", "progress", "runRef", "startedAt"}
ATTACKS: Final[tuple[dict[str, Any], ...]] = (
    {"annotations": {"cancel_requested_at": "at once"}},
    {"recipe": "no-such-recipe"},
    {"spec": {"credentialsSecretRef": {"name": "none"}}},
)


@dataclass(frozen=True, slots=True)
class Victim:
    """A project of team-a: its setup where there is one, and how team-a brings it to a good end."""

    project: str
    setup: Setup | None
    go_on: Callable[[], None]


@pytest.fixture(scope="module")
def team_b(kubeconfig: Path) -> ApiServer:
    return ApiServer.prepared(kubeconfig, "team-b")


@pytest.fixture(scope="module")
def sandbox(new_sandbox: NewSandbox, team_b: ApiServer) -> Iterator[Sandbox]:
    """One operator of both namespaces; `sandbox.api` is team-a's."""
    with new_sandbox(concurrency=str(SLOTS)) as sandbox:
        sandbox.operator.configure(namespaces=f"{sandbox.api.namespace},{team_b.namespace}")
        sandbox.operator.start()
        yield sandbox


def running(sandbox: Sandbox, steps: Steps) -> Victim:
    setup = Setup.gated(sandbox, steps, project=secret_project(sandbox))
    steps.await_start(setup)

    def go_on() -> None:
        steps.release()
        succeeds(setup)
        assert steps.attempts == [1]

    return Victim(setup.name, setup, go_on)


def backing_off(sandbox: Sandbox, steps: Steps) -> Victim:
    setup = delayed(sandbox, steps)
    return Victim(setup.name, setup, lambda: retried(setup, steps))


def ready(sandbox: Sandbox, _: Steps) -> Victim:
    setup = Setup.make(sandbox, project=secret_project(sandbox))
    succeeds(setup)
    return Victim(setup.name, setup, lambda: succeeds(setup))


def deleted(sandbox: Sandbox, steps: Steps) -> Victim:
    setup = delayed(sandbox, steps)
    setup.delete()
    wait_for(lambda: setup.record["owner_uid"] is None, "the claim of the deleted ProjectSetup to be released")
    return Victim(setup.name, None, lambda: succeeds(Setup.make(sandbox, project=setup.name)))


STATES: Final = (running, backing_off, ready, deleted)
"""Those in which the operator deals with a claim differently; test_projects_claiming.py refuses it in every state."""


def secret_project(sandbox: Sandbox) -> str:
    secret = uuid.uuid4().hex
    return sandbox.project(name=f"venture-{secret}", code_repo=f"/nowhere/repository-{secret}.git")


def delayed(sandbox: Sandbox, steps: Steps) -> Setup:
    """A setup whose first attempt has failed; later ones succeed once the file `mended` exists."""
    project, place = secret_project(sandbox), str(steps.folder)
    setup = Setup.make(sandbox, "scripts", project=project, first=MENDED, place=place, annotations={"backoff": "1h"})
    setup.reached("BackingOff")
    return setup


def retried(setup: Setup, steps: Steps) -> None:
    (steps.folder / "mended").touch()
    setup.annotate(retry_requested_at="by team-a")
    why, _ = setup.ended_after_retry("by team-a")
    assert why == "SetupSucceeded"


def succeeds(setup: Setup) -> None:
    assert setup.ended()[0] == "SetupSucceeded"


def learns_nothing(sandbox: Sandbox, team_b: ApiServer, row: dict[str, Any]) -> None:
    """Nothing of the project stands anywhere in team-b's namespace."""
    visible = team_b.kubectl("get", "projectsetups,events.events.k8s.io,jobs,pods,configmaps,secrets", "-o", "json")
    for secret in (row["name"], row["code_repo"], sandbox.api.namespace, row["owner_uid"]):
        assert not secret or secret not in visible
    items = json.loads(visible)["items"]
    assert {item["kind"] for item in items} <= {"ProjectSetup", "Event", "ConfigMap"}
    for item in items:
        if item["metadata"]["name"] == str(row["id"]):
            assert not PROJECT_FIELDS & item.get("status", {}).keys()
            assert item["status"].get("attempt", 0) == 0


def refused(setup: Setup) -> None:
    why, status = setup.ended()
    assert (why, status["failure"]["retryable"]) == ("ProjectClaimed", False)
    assert message(status).startswith(f"project {setup.name} belongs to another namespace; an administrator can move")
    setup.wait_for_events("Failed")


@pytest.fixture(params=STATES, ids=lambda state: state.__name__)
def victim(request: pytest.FixtureRequest, sandbox: Sandbox, steps: Steps) -> Victim:
    made: Victim = request.param(sandbox, steps)
    return made


def test_a_project_of_another_namespace_is_neither_changed_nor_revealed(
    sandbox: Sandbox, team_b: ApiServer, victim: Victim
) -> None:
    row, status = sandbox.record(victim.project), victim.setup and victim.setup.status
    attack = Setup.make(sandbox, project=victim.project, api=team_b)
    refused(attack)
    attack.annotate(retry_requested_at="again")
    assert attack.ended_after_retry("again")[0] == "ProjectClaimed"
    attack.annotate(cancel_requested_at="now")
    learns_nothing(sandbox, team_b, row)
    attack.delete()
    for options in ATTACKS:
        attack = Setup.make(sandbox, project=victim.project, api=team_b, **options)
        why, _ = attack.ended()
        assert why == ("Cancelled" if "cancel_requested_at" in options.get("annotations", {}) else "ProjectClaimed")
        learns_nothing(sandbox, team_b, row)
        attack.delete()
    assert sandbox.record(victim.project) == row
    assert (victim.setup and victim.setup.status) == status
    victim.go_on()
    record = sandbox.record(victim.project)
    assert (record["status"], record["namespace"]) == ("ready", sandbox.api.namespace)


def test_suspending_and_deleting_change_nothing(sandbox: Sandbox, team_b: ApiServer, steps: Steps) -> None:
    victim = running(sandbox, steps)
    row = sandbox.record(victim.project)
    attack = Setup.make(sandbox, project=victim.project, api=team_b, spec={"suspend": True})
    attack.reached("Suspended")
    learns_nothing(sandbox, team_b, row)
    attack.delete()
    attack = Setup.make(sandbox, project=victim.project, api=team_b, spec={"suspend": True})
    attack.reached("Suspended")
    attack.change(suspend=False)
    refused(attack)
    attack.delete()
    fence = Setup.make(
        sandbox, project=sandbox.project(), api=team_b
    )  # what was deleted is settled before this one ends
    fence.reached("Queued", "Succeeded")
    assert sandbox.record(victim.project) == row
    victim.go_on()


def test_a_restarted_operator_refuses_too(sandbox: Sandbox, team_b: ApiServer, steps: Steps) -> None:
    victim = backing_off(sandbox, steps)
    attack = Setup.make(sandbox, project=victim.project, api=team_b, spec={"suspend": True})
    attack.reached("Suspended")
    row = sandbox.record(victim.project)
    assert sandbox.operator.terminate() == 0
    attack.change(suspend=False)
    sandbox.operator.start()
    refused(attack)
    assert sandbox.record(victim.project) == row
    victim.go_on()


def test_no_job_is_created_in_the_attackers_namespace(new_sandbox: NewSandbox, kubeconfig: Path) -> None:
    attacker = ApiServer.prepared(kubeconfig, "team-b")
    with new_sandbox(engine="job") as sandbox:
        sandbox.operator.configure(namespaces=f"{sandbox.api.namespace},{attacker.namespace}")
        sandbox.operator.start()
        setup = Setup.make(sandbox, project=secret_project(sandbox))
        setup.reached("Running")
        wait_for(lambda: jobs(sandbox.api), "the Job of team-a")
        row, status, job = setup.record, setup.status, jobs(sandbox.api)
        attack = Setup.make(sandbox, project=setup.name, api=attacker)
        refused(attack)
        learns_nothing(sandbox, attacker, row)
        assert sandbox.operator.terminate() == 0
        attack.annotate(retry_requested_at="again")
        sandbox.operator.start()
        assert attack.ended_after_retry("again")[0] == "ProjectClaimed"
        attack.delete()
        assert jobs(attacker) == []
        learns_nothing(sandbox, attacker, row)
        assert jobs(sandbox.api) == job
        now = setup.record
        assert (now["owner_uid"], now["attempt"], now["status"]) == (row["owner_uid"], 1, row["status"])
        assert (setup.status["phase"], setup.status["runRef"]) == ("Running", status["runRef"])


def jobs(api: ApiServer) -> list[tuple[str, str, bool]]:
    items = json.loads(api.kubectl("get", "jobs", "-o", "json"))["items"]
    return [
        (item["metadata"]["name"], item["metadata"]["uid"], "deletionTimestamp" in item["metadata"]) for item in items
    ]


def test_a_required_namespace_protects_projects_without_one(new_sandbox: NewSandbox, kubeconfig: Path) -> None:
    attacker = ApiServer.prepared(kubeconfig, "team-b")
    with new_sandbox(require_namespace="true") as sandbox:
        sandbox.operator.configure(namespaces=f"{sandbox.api.namespace},{attacker.namespace}")
        sandbox.operator.start()
        project, unknown = secret_project(sandbox), str(uuid.uuid4())
        row = sandbox.record(project)
        ours = Setup.make(sandbox, project=project)
        attack, guess = (Setup.make(sandbox, project=name, api=attacker) for name in (project, unknown))
        texts = set()
        for setup in (ours, attack, guess):
            why, status = setup.ended()
            assert why == "ProjectNotFound"
            texts.add(message(status).replace(setup.name, "ID"))
        assert len(texts) == 1  # nobody learns whether there is such a project
        learns_nothing(sandbox, attacker, row)
        assert sandbox.record(project) == row
        with psycopg.connect(sandbox.database_url) as connection:
            connection.execute("UPDATE projects SET namespace = %s WHERE id = %s", (sandbox.api.namespace, project))
        for setup, why in ((attack, "ProjectClaimed"), (ours, "SetupSucceeded")):
            setup.annotate(retry_requested_at="1")
            assert setup.ended_after_retry("1")[0] == why

"""How Argo CD and Flux assess real ProjectSetups that a real operator has brought to every reason of the contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import yaml

from projectsetup.api.reasons import SUCCESSES, TERMINAL_FAILURES, WAITING
from tests.support import argocd
from tests.support.api_server import ApiServer
from tests.support.go_modules import ARGOCD, KSTATUS, kstatus, require
from tests.support.operator_sandbox import PREFIX, NewSandbox, Sandbox, message, reason
from tests.support.setup_handle import Setup, Steps

Body = dict[str, Any]

UNSEEN, CHANGED = "not looked at", "changed since"
OF_THE_CONTRACT: Final = {*WAITING, *TERMINAL_FAILURES, *SUCCESSES}
KSTATUS_OF: Final = {
    "Healthy": "Current",
    "Degraded": "Failed",
    "Progressing": "InProgress",
    "Suspended": "InProgress",
}
"""kstatus has no status for a suspended object: it counts as in progress, not as failed."""

PASS_ON_RETRY: Final = '[ -e "$PARAM_PLACE/go" ] || exit 1'


@pytest.fixture(scope="module")
def setups(
    new_sandbox: NewSandbox,
    kubeconfig: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Body]]:
    """ProjectSetups as the API server returns them, by the reason to which the operator has brought each."""
    steps, rival = Steps(tmp_path_factory.mktemp("gitops")), ApiServer.prepared(kubeconfig, "rival")
    with new_sandbox(concurrency="1") as sandbox, psycopg.connect(sandbox.database_url, autocommit=True) as database:
        sandbox.operator.configure(namespaces=f"{sandbox.api.namespace},{rival.namespace}")
        unseen = Setup.make(sandbox).body
        sandbox.operator.start()
        stands = _brought_to_an_end(sandbox, rival, database)
        for why, setup in stands.items():
            setup.reached_reason(why)  # before the one that keeps the only slot
        stands["Suspended"] = Setup.make(sandbox, spec={"suspend": True})
        stands["Running"] = Setup.gated(sandbox, steps)
        steps.await_start(stands["Running"])
        stands["Queued"] = Setup.gated(sandbox, steps)
        for why, setup in stands.items():
            setup.reached_reason(why)
        bodies = {why: setup.body for why, setup in stands.items()}
        project = sandbox.project()
        database.execute("ALTER TABLE projects RENAME TO hidden")
        waiting = Setup.make(sandbox, project=project)
        waiting.reached_reason("DatabaseUnavailable")
        bodies["DatabaseUnavailable"] = waiting.body
        database.execute("ALTER TABLE hidden RENAME TO projects")
        steps.release()
        assert sandbox.operator.terminate() == 0
        stands["SetupSucceeded"].change(timeout="1h")
        yield {**bodies, UNSEEN: unseen, CHANGED: stands["SetupSucceeded"].body}


def _brought_to_an_end(sandbox: Sandbox, rival: ApiServer, database: psycopg.Connection[Any]) -> dict[str, Setup]:
    backing_off = Setup.make(sandbox, "scripts", second="exit 75", annotations={"backoff": "1h"})
    backing_off.reached("BackingOff")
    ready = sandbox.project()
    testing = sandbox.project()
    database.execute("UPDATE projects SET status = 'ready' WHERE id = %s", (ready,))
    database.execute("UPDATE projects SET status = 'testing' WHERE id = %s", (testing,))
    return {
        "RetryScheduled": backing_off,
        "SetupSucceeded": Setup.make(sandbox),
        "StepFailed": Setup.make(sandbox, "scripts", first="echo 2 tests failed; exit 1"),
        "AttemptsExhausted": Setup.make(sandbox, "scripts", first="exit 75", annotations={"max_attempts": "1"}),
        "ProjectNotFound": Setup.make(sandbox, project=str(uuid.uuid4())),
        "AlreadySetUp": Setup.make(sandbox, project=ready),
        "ProjectInvalidState": Setup.make(sandbox, project=testing),
        "ProjectClaimed": Setup.make(sandbox, project=backing_off.name, api=rival),
        "InvalidSpec": Setup.make(sandbox, "broken"),
        "DependencyMissing": Setup.make(sandbox, "no-such-recipe"),
        "Cancelled": Setup.make(sandbox, annotations={"cancel_requested_at": "1"}),
    }


def test_every_reason_of_the_contract_was_reached(setups: dict[str, Body]) -> None:
    assert setups.keys() - {UNSEEN, CHANGED} == OF_THE_CONTRACT
    for why in OF_THE_CONTRACT:
        status = setups[why]["status"]
        assert (reason(status), status["observedGeneration"]) == (why, setups[why]["metadata"]["generation"])


@pytest.fixture(scope="module")
def shown(setups: dict[str, Body]) -> dict[str, argocd.Health]:
    """What Argo CD shows of each."""
    require(ARGOCD)
    return {why: argocd.health(body) for why, body in setups.items()}


def test_argocd_shows_the_health_of_the_contract(setups: dict[str, Body], shown: dict[str, argocd.Health]) -> None:
    for why, body in setups.items():
        health = shown[why]
        if why in {UNSEEN, CHANGED}:
            assert (health.status, "yet" in health.message) == ("Progressing", True), why
            continue
        expected = "Healthy" if why in SUCCESSES else "Degraded" if why in TERMINAL_FAILURES else "Progressing"
        assert health.status == ("Suspended" if why == "Suspended" else expected), why
        age = " (as of the last refresh)" if health.status == "Progressing" else ""
        assert health.message == f"{why}: {message(body['status'])}{age}"


def test_argocd_shows_the_progress_and_the_failure(shown: dict[str, argocd.Health]) -> None:
    messages = {why: health.message for why, health in shown.items()}
    assert messages["Running"] == "Running: attempt 1 of 3: step wait (1 of 1) (as of the last refresh)"
    assert messages["RetryScheduled"].startswith("RetryScheduled: attempt 1 of 3 failed: StepTransient: step second")
    assert "next attempt at" in messages["RetryScheduled"]
    assert messages["StepFailed"].startswith(
        "StepFailed: step first failed with exit code 1: 2 tests failed; full output:"
    )
    assert "broken.yaml" in messages["InvalidSpec"]
    assert messages["DependencyMissing"].startswith("DependencyMissing: there is no recipe 'no-such-recipe'")
    assert messages["DatabaseUnavailable"].startswith("DatabaseUnavailable: waiting for the database: ")


@pytest.mark.usefixtures("shown")
def test_argocd_offers_only_actions_with_an_effect(setups: dict[str, Body]) -> None:
    for why, body in setups.items():
        offered = argocd.available(body)
        assert ("retry" in offered) == (why in {*TERMINAL_FAILURES, "RetryScheduled"}), why
        assert ("cancel" in offered) == (why in {*WAITING, UNSEEN}), why


def test_flux_agrees_with_argocd_and_with_the_contract(
    setups: dict[str, Body], shown: dict[str, argocd.Health]
) -> None:
    require(KSTATUS)
    results = dict(zip(setups, kstatus(list(setups.values())), strict=True))
    for why, body in setups.items():
        assert results[why]["status"] == KSTATUS_OF[shown[why].status], why
        if why in {*WAITING, *TERMINAL_FAILURES}:
            assert results[why]["message"] == message(body["status"]), why
    assert "latest observed generation is -1" in results[UNSEEN]["message"]
    assert "latest observed generation is 1" in results[CHANGED]["message"]


@pytest.mark.parametrize("how", [(), ("--server-side",)])
def test_annotations_of_users_survive_another_sync(sandbox: Sandbox, tmp_path: Path, how: tuple[str, ...]) -> None:
    """Argo CD applies as kubectl does: fields that git does not mention stay."""
    project = sandbox.project()
    body = {"apiVersion": "codemyspec.com/v1alpha1", "kind": "ProjectSetup", "metadata": {"name": project}}
    in_git = tmp_path / "setup.yaml"
    in_git.write_text(yaml.safe_dump({**body, "spec": {"recipe": "instant", "suspend": True}}))
    sandbox.api.kubectl("apply", *how, "-f", str(in_git))
    asked = {f"{PREFIX}priority": "0", f"{PREFIX}retry-requested-at": "1"}
    named = [f"{name}={value}" for name, value in asked.items()]
    sandbox.api.kubectl("annotate", "--overwrite", "projectsetup", project, *named)
    in_git.write_text(yaml.safe_dump({**body, "spec": {"recipe": "instant", "suspend": False}}))
    sandbox.api.kubectl("apply", *how, "-f", str(in_git))
    assert Setup(sandbox, sandbox.api, project).ended()[0] == "SetupSucceeded"
    assert asked.items() <= sandbox.api.get(project)["metadata"]["annotations"].items()

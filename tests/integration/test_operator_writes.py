"""The operator writes only when it has something to report."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.api_server import Body
from tests.support.bulk import make_setups
from tests.support.exposition import Exposition
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.setup_handle import Setup, Steps

FINISHED = 200
MANAGER = "projectsetup-operator"


def writes(sandbox: Sandbox) -> int:
    """Writes of `.status` that the operator has counted."""
    exposition = Exposition(sandbox.operator.get("/metrics")[1])
    return int(exposition.value("projectsetup_api_writes_total", resource="projectsetups/status", result="ok"))


def written_at(version: Body) -> str:
    """The second in which this version of an object was written."""
    (time,) = [entry["time"] for entry in version["metadata"]["managedFields"] if entry["manager"] == MANAGER]
    return str(time)


def test_a_setup_of_one_step_takes_two_writes(sandbox: Sandbox) -> None:
    before = writes(sandbox)
    setup = Setup.make(sandbox)
    setup.ended()
    assert [version["status"]["phase"] for version in setup.changes()] == ["Running", "Succeeded"]
    wait_for(lambda: writes(sandbox) - before >= 2, "the last write to be answered")
    assert writes(sandbox) - before == 2


def test_progress_is_written_once_a_second_at_most(sandbox: Sandbox) -> None:
    setup = Setup.make(sandbox, "many-steps")
    setup.ended()
    started, *between, ended = setup.changes()
    assert (started["status"]["step"], ended["status"]["phase"]) == ("step-01", "Succeeded")
    assert between, "its steps take longer than a second"
    assert {version["status"]["phase"] for version in between} == {"Running"}
    reported_steps = [version["status"]["step"] for version in (started, *between)]
    assert sorted(set(reported_steps)) == reported_steps
    seconds = [written_at(version) for version in (started, *between)]
    assert sorted(set(seconds)) == seconds


def test_nothing_is_written_while_nothing_changes(sandbox: Sandbox, steps: Steps) -> None:
    running = Setup.gated(sandbox, steps)
    steps.await_start(running)
    waiting = Setup.make(sandbox, "scripts", first="exit 75", annotations={"backoff": "1h"})
    waiting.reached("BackingOff")
    versions = [setup.body["metadata"]["resourceVersion"] for setup in (running, waiting)]
    for setup in (running, waiting):
        setup.api.patch(setup.name, {"metadata": {"labels": {"looked": "at"}}})
    Setup.make(sandbox).ended()
    for setup, version in zip((running, waiting), versions, strict=True):
        assert len(setup.api.changes(setup.name, since=version)) == 1  # the label


def versions(sandbox: Sandbox) -> dict[str, str]:
    """The resourceVersion of every ProjectSetup."""
    items = json.loads(sandbox.api.kubectl("get", "projectsetups", "-o", "json"))["items"]
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


def test_a_restart_with_finished_setups_writes_nothing(new_sandbox: NewSandbox, kubeconfig: Path) -> None:
    with new_sandbox() as sandbox:
        sandbox.operator.start()
        ended = [
            Setup.make(sandbox),
            Setup.make(sandbox, "scripts", first="exit 1"),
            Setup.make(sandbox, "broken"),
            Setup.make(sandbox, annotations={"cancel_requested_at": "1"}),
        ]
        statuses = [setup.ended()[1] for setup in ended]
        sandbox.operator.close()
        # a cancel is reported by its annotation
        finished = [status for status in statuses if status["phase"] != "Cancelled"]
        make_setups(kubeconfig, sandbox.api.namespace, finished, FINISHED)
        before = versions(sandbox)
        assert len(before) == FINISHED + len(ended)
        sandbox.operator.start()
        last = Setup.make(sandbox)  # it starts after all others were reconciled
        last.ended()
        own = len(last.changes())
        wait_for(lambda: writes(sandbox) >= own, "the last write to be answered")
        assert writes(sandbox) == own
        assert {**before, **versions(sandbox)} == {**versions(sandbox), **before}

"""One operator leads and another stands by: the holder of the Lease, and its handover."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import Body
from tests.support.operator_process import OperatorProcess, wait_for
from tests.support.operator_sandbox import RECIPES, NewSandbox, Sandbox
from tests.support.setup_handle import Setup, Steps

TAKEOVER = 10.0
"""Seconds on a busy machine: far below the 30 that a Lease takes to expire if it was not released."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two operators for one namespace."""

    sandbox: Sandbox
    standby: OperatorProcess

    @property
    def leader(self) -> OperatorProcess:
        """The operator that started first."""
        return self.sandbox.operator

    @property
    def lease(self) -> Body:
        """The spec of the Lease."""
        spec: Body = json.loads(self.sandbox.api.kubectl("get", "lease", "projectsetup-operator", "-o", "json"))["spec"]
        return spec


@pytest.fixture(scope="module")
def pair(new_sandbox: NewSandbox, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    settings: dict[str, Any] = {"leader_election": "true", "shutdown_grace": "100ms"}
    with new_sandbox(**settings) as sandbox:
        standby = OperatorProcess(
            tmp_path_factory.mktemp("standby"),
            kubeconfig=kubeconfig,
            database_url=sandbox.database_url,
            namespaces=sandbox.api.namespace,
            operator_namespace=sandbox.api.namespace,
            recipes_dir=str(RECIPES),
            **settings,
        )
        sandbox.operator.start()
        wait_for(sandbox.operator.leads, "the first operator to lead")
        standby.start()
        yield Pair(sandbox, standby)
        standby.close()


def test_the_standby_watches_and_starts_nothing(pair: Pair) -> None:
    assert Setup.make(pair.sandbox).ended()[0] == "SetupSucceeded"
    assert (pair.leader.leads(), pair.standby.leads()) == (True, False)
    assert (pair.leader.get("/readyz")[0], pair.standby.get("/readyz")[0]) == (200, 200)
    assert "projectsetup_attempts_started_total 1.0" in pair.leader.get("/metrics")[1]
    assert "projectsetup_attempts_started_total 0.0" in pair.standby.get("/metrics")[1]
    assert 'resource="projectsetups/status"' not in pair.standby.get("/metrics")[1]


def test_a_clean_shutdown_hands_the_lease_over(pair: Pair, steps: Steps) -> None:
    lease = pair.lease
    assert str(pair.leader.pid) in lease["holderIdentity"].split(".")
    assert lease["leaseDurationSeconds"] == 30
    running = Setup.gated(pair.sandbox, steps)
    steps.await_start(running)
    queued = Setup.make(pair.sandbox, spec={"suspend": True})
    queued.reached("Suspended")
    assert pair.leader.terminate() == 0
    wait_for(pair.standby.leads, "the standby to lead", limit=TAKEOVER)
    assert str(pair.standby.pid) in pair.lease["holderIdentity"].split(".")
    assert pair.lease["leaseTransitions"] == lease["leaseTransitions"] + 1
    steps.release()
    why, status = running.ended()
    assert (why, status["attempt"], steps.attempts) == ("SetupSucceeded", 1, [1, 1])
    queued.change(suspend=False)
    assert queued.ended()[0] == "SetupSucceeded"
    assert pair.standby.terminate() == 0
    assert pair.lease["holderIdentity"] == ""

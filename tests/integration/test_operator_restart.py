"""SIGTERM: nothing new, the grace for what runs, and what is left is given back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import psycopg
import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_stage import Stage
from tests.support.setup_handle import Setup, Steps

NewStage = Callable[..., AbstractContextManager[Stage]]


@pytest.fixture(scope="module")
def lasting(new_stage: NewStage) -> Iterator[Stage]:
    with new_stage(concurrency="16", shutdown_grace="60s") as stage:
        yield stage


def test_a_running_attempt_may_end_within_the_grace(lasting: Stage, steps: Steps) -> None:
    lasting.operator.configure(shutdown_grace="60s", concurrency="2")
    lasting.operator.start()
    running = [Setup.gated(lasting, steps) for _ in range(2)]
    steps.await_start(*running)
    queued = Setup.gated(lasting, steps)
    queued.waits_for("Queued")
    lasting.operator.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "no new attempts start" in lasting.operator.log.read_text(), "the operator to begin to end")
    steps.let_go(running[0])
    assert running[0].ended()[0] == "SetupSucceeded"
    Setup.make(lasting).waits_for("Queued")
    assert len(steps.started) == 2
    steps.let_go()
    assert lasting.operator.process.wait(60) == 0
    for setup in running:
        status = setup.status
        assert (status["phase"], status["attempt"], setup.record["status"]) == ("Succeeded", 1, "ready")
    assert queued.status["phase"] == "Queued"
    assert len(steps.started) == 2


@pytest.fixture
def stage(lasting: Stage) -> Stage:
    """An operator that runs, with many slots and hardly any grace."""
    if lasting.operator.ended:
        lasting.operator.configure(shutdown_grace="100ms", concurrency="16")
        lasting.operator.start()
    return lasting


def test_an_operator_whose_fence_has_moved_on_writes_nothing_and_ends(stage: Stage, steps: Steps) -> None:
    setup = Setup.gated(stage, steps)
    steps.await_start(setup)
    before = setup.status
    with psycopg.connect(stage.database_url) as connection:  # as another operator that has taken over
        connection.execute("UPDATE projects SET fence = fence + 1 WHERE id = %s", (setup.name,))
    record = setup.record
    steps.let_go()
    assert stage.operator.process.wait(60) == 1
    assert (setup.record, setup.status) == (record, before)
    assert "another operator has claimed project" in stage.operator.log.read_text()


def test_an_attempt_that_does_not_end_within_the_grace_is_given_back(stage: Stage, steps: Steps) -> None:
    setup = Setup.gated(stage, steps)
    steps.await_start(setup)
    assert stage.operator.terminate() == 0
    status = setup.status
    assert (status["phase"], status["attempt"], status["attempts"]) == ("Queued", 0, [])
    assert not {"runRef", "failure"} & status.keys()
    record = setup.record
    assert (record["status"], record["attempt"], record["owner_name"]) == ("setup_queued", 0, setup.name)
    assert not list(stage.operator.workspaces.iterdir())
    steps.let_go()
    stage.operator.start()
    why, status = setup.ended()
    assert (why, status["attempt"], len(status["attempts"])) == ("SetupSucceeded", 1, 1)
    assert steps.attempts == [1, 1]

"""PostgreSQL or the API server away: nothing is lost, no attempt is burned by waiting, what runs goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.support.operator_process import wait_for
from tests.support.operator_stage import Stage, message
from tests.support.setup_handle import Setup, Steps
from tests.support.tcp_door import Door, through

NewStage = Callable[..., AbstractContextManager[Stage]]


@dataclass(frozen=True, slots=True)
class Doors:
    """What lies between the operator and the rest of the world."""

    stage: Stage
    database: Door
    api: Door


@pytest.fixture(scope="module")
def started(new_stage: NewStage, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    with new_stage(concurrency="1") as stage:
        database_port, api_port = urlsplit(stage.database_url).port, urlsplit(cluster["server"]).port
        assert database_port
        assert api_port
        with Door(database_port) as database, Door(api_port) as api:
            cluster["server"] = through(cluster["server"], api)
            moved = tmp_path_factory.mktemp("doors") / "kubeconfig"
            moved.write_text(yaml.safe_dump(config))
            environment = {"DATABASE_URL": through(stage.database_url, database), "KUBECONFIG": str(moved)}
            stage.operator.configure(environment)
            stage.operator.start()
            yield Doors(stage, database, api)
            stage.operator.close()


@pytest.fixture
def doors(started: Doors) -> Doors:
    """All doors open, and the operator aware of it."""
    for door in (started.database, started.api):
        if not door.is_open:
            door.open()
    wait_for(started.stage.operator.is_ready, "the operator to be ready")
    return started


def workspace_is_gone(setup: Setup) -> None:
    place = setup.stage.operator.workspaces
    wait_for(lambda: not list(place.glob(f"*/{setup.name[:8]}-*")), "the attempt to end")


# --- PostgreSQL


def test_what_waits_goes_on_by_itself_when_the_database_is_back(doors: Doors, steps: Steps) -> None:
    doors.database.shut()
    setup = Setup.gated(doors.stage, steps)
    status = setup.waits_for("DatabaseUnavailable")
    assert (status["phase"], status["attempt"], status["observedGeneration"]) == ("Queued", 0, 1)
    assert "waiting for the database: PostgreSQL at 127.0.0.1" in message(status)
    assert doors.stage.operator.get("/readyz")[0] == 503
    assert doors.stage.operator.get("/healthz")[0] == 200
    steps.let_go()
    doors.database.open()
    why, status = setup.ended()
    assert (why, status["attempt"], setup.record["status"]) == ("SetupSucceeded", 1, "ready")
    assert steps.attempts == [1]
    setup.has_events("Started", "Succeeded")


def test_what_runs_goes_on_without_the_database_and_reports_afterwards(doors: Doors, steps: Steps) -> None:
    hold = 'until [ -e "$PARAM_PLACE/{}" ]; do sleep 0.05; done'
    place = str(steps.folder)
    setup = Setup.make(doors.stage, "scripts", first=hold.format("one"), second=hold.format("two"), place=place)
    setup.reached("Running")
    doors.database.shut()
    (steps.folder / "one").touch()
    status = setup.until("at its second step", lambda status: status.get("step") == "second")
    assert (status["phase"], status["projectStatus"], status["progress"]) == ("Running", "compiling", "1/3")
    assert setup.record["status"] == "initializing"
    doors.database.open()
    wait_for(lambda: setup.record["status"] == "compiling", "the record to catch up with the second step")
    doors.database.shut()
    (steps.folder / "two").touch()
    workspace_is_gone(setup)
    assert setup.status["phase"] == "Running"
    doors.database.open()
    why, status = setup.ended()
    assert (why, status["attempt"], status["progress"]) == ("SetupSucceeded", 1, "3/3")
    assert (setup.record["status"], setup.record["attempt"]) == ("ready", 1)
    setup.has_events("Started", "Succeeded")


def test_a_cancel_and_a_deletion_wait_for_the_database(doors: Doors, steps: Steps) -> None:
    running = Setup.gated(doors.stage, steps)
    steps.await_start(running)
    queued, deleted = (Setup.gated(doors.stage, steps) for _ in range(2))
    for setup in (queued, deleted):
        setup.waits_for("Queued")
    doors.database.shut()
    running.annotate(cancel_requested_at="1")
    queued.annotate(cancel_requested_at="1")
    deleted.delete()
    workspace_is_gone(running)
    assert queued.waits_for("DatabaseUnavailable").get("lastHandledCancel") is None
    doors.database.open()
    for setup in (running, queued):
        assert setup.ended()[0] == "Cancelled"
        assert setup.record["setup_error"]["reason"] == "Cancelled"
    wait_for(lambda: deleted.record["owner_uid"] is None, "the project of the deleted one to be free")
    assert steps.started == [running.name]


# --- the API server


def test_what_changes_while_the_api_server_is_away_is_found_afterwards(doors: Doors, steps: Steps) -> None:
    deleted = Setup.gated(doors.stage, steps)
    steps.await_start(deleted)
    cancelled = Setup.gated(doors.stage, steps)
    cancelled.waits_for("Queued")
    doors.api.shut()
    deleted.delete()
    cancelled.annotate(cancel_requested_at="1")
    made = Setup.make(doors.stage)
    doors.api.open()
    assert made.ended()[0] == "SetupSucceeded"
    assert cancelled.ended()[0] == "Cancelled"
    wait_for(lambda: deleted.record["owner_uid"] is None, "the project of the deleted one to be free")
    assert steps.started == [deleted.name]


def test_an_attempt_that_cannot_be_written_down_is_not_started(doors: Doors, steps: Steps) -> None:
    doors.database.shut()
    setup = Setup.gated(doors.stage, steps)
    setup.waits_for("DatabaseUnavailable")
    doors.api.shut()
    doors.database.open()
    wait_for(lambda: setup.record["status"] == "compiling", "the project to be claimed for the attempt")
    told = f"write status of ProjectSetup {doors.stage.api.namespace}/{setup.name}"
    wait_for(lambda: told in doors.stage.operator.log.read_text(), "the failure to write the attempt down")
    assert steps.started == []
    steps.let_go()
    doors.api.open()
    why, status = setup.ended()
    assert (why, status["attempt"], len(status["attempts"])) == ("SetupSucceeded", 1, 1)
    assert steps.attempts == [1]


def test_what_runs_goes_on_without_the_api_server_and_reports_before_others_start(doors: Doors, steps: Steps) -> None:
    first = Setup.gated(doors.stage, steps)
    steps.await_start(first)
    second = Setup.gated(doors.stage, steps)
    second.waits_for("Queued")
    doors.api.shut()
    steps.let_go()
    wait_for(lambda: first.record["status"] == "ready", "the end of the first to be told to the record")
    assert first.status["phase"] == "Running"
    doors.api.open()
    for setup in (first, second):
        why, status = setup.ended()
        assert (why, status["attempt"], len(status["attempts"])) == ("SetupSucceeded", 1, 1)
    assert (steps.started, steps.attempts) == ([first.name, second.name], [1, 1])

"""Who starts next, how many at once, and the ConfigMap by which people control that."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer
from tests.support.exposition import Exposition
from tests.support.operator_process import wait_for
from tests.support.operator_stage import Stage
from tests.support.setup_handle import Setup, Steps

CONFIG_MAP = "projectsetup-queue"


def control(stage: Stage, **data: str | None) -> None:
    """Set keys of the queue's ConfigMap."""
    stage.api.kubectl("patch", "configmap", CONFIG_MAP, "--type=merge", "-p", json.dumps({"data": data}))


def gauge(stage: Stage, name: str) -> float:
    return Exposition(stage.operator.get("/metrics")[1]).value(f"projectsetup_{name}")


def slots(stage: Stage, taken: int, waiting: int) -> None:
    """Return when so many slots are taken and so many setups wait for one."""
    wanted = (taken, waiting)
    wait_for(
        lambda: (gauge(stage, "slots_taken"), gauge(stage, "queue_depth")) == wanted,
        f"{taken} slots to be taken and {waiting} setups to wait",
    )


def all_seen(stage: Stage) -> None:
    """Return when all changes up to now were seen: a new setup is told as queued."""
    Setup.make(stage, annotations={"priority": "9"}).waits_for("Queued")


@pytest.fixture(scope="module")
def elsewhere(kubeconfig: Path) -> ApiServer:
    """A second namespace, which no other operator serves."""
    return ApiServer.prepared(kubeconfig, "line")


@pytest.fixture(scope="module")
def narrow(new_stage: Callable[..., AbstractContextManager[Stage]], elsewhere: ApiServer) -> Iterator[Stage]:
    """An operator with one slot."""
    with new_stage(concurrency="1", shutdown_grace="1ms") as stage:
        stage.operator.configure(namespaces=f"{stage.api.namespace} {elsewhere.namespace}")
        stage.api.kubectl("create", "configmap", CONFIG_MAP)
        stage.operator.start()
        yield stage


@pytest.fixture
def stage(narrow: Stage) -> Iterator[Stage]:
    """The same with nothing to do, before and after."""
    if not narrow.operator.alive:
        narrow.operator.start()
    yield narrow
    control(narrow, paused=None, concurrency=None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a setup stands in line."""

    priority: int
    queued_at: str
    name: str
    """`namespace/name`"""


def stand_in_line(stage: Stage, steps: Steps, api: ApiServer, priority: int, second: int) -> tuple[Place, Setup]:
    queued_at = f"2026-01-01T00:00:{second:02}Z"
    setup = Setup.gated(stage, steps, api=api, annotations={"priority": str(priority)})
    api.patch_status(setup.name, {"queuedAt": queued_at})
    return Place(priority, queued_at, f"{api.namespace}/{setup.name}"), setup


def in_order(places: list[Place]) -> list[str]:
    ordered = sorted(places, key=lambda place: (place.priority, place.queued_at, place.name))
    return [place.name.partition("/")[2] for place in ordered]


def test_priority_then_time_then_name(stage: Stage, elsewhere: ApiServer, steps: Steps) -> None:
    stage.operator.close()
    luck = random.Random(8)  # noqa: S311
    places = [
        stand_in_line(stage, steps, luck.choice((stage.api, elsewhere)), luck.randrange(3), luck.randrange(3))
        for _ in range(24)
    ]
    steps.let_go()
    stage.operator.start()
    for _, setup in places:
        setup.ended()
    assert steps.started == in_order([place for place, _ in places])


def test_the_order_holds_after_a_restart(stage: Stage, steps: Steps) -> None:
    control(stage, paused="true")
    all_seen(stage)
    setups = [Setup.gated(stage, steps, annotations={"priority": str(priority)}) for priority in (5, 0, 7, 3, 2)]
    for setup in setups:
        setup.waits_for("Queued")
    before = [setup.status for setup in setups]
    stage.operator.kill()
    stage.operator.start()
    slots(stage, 0, len(setups) + 1)
    assert [setup.status for setup in setups] == before
    assert steps.started == []
    steps.let_go()
    control(stage, paused="false")
    for setup in setups:
        setup.ended()
    assert steps.started == [setups[index].name for index in (1, 4, 3, 0, 2)]


def test_a_changed_priority_counts_at_once(stage: Stage, steps: Steps) -> None:
    blocker = Setup.gated(stage, steps, annotations={"priority": "0"})
    steps.await_start(blocker)
    first, second, third = (Setup.gated(stage, steps, annotations={"priority": "5"}) for _ in range(3))
    for setup in (first, second, third):
        assert setup.waits_for("Queued")["phase"] == "Queued"
    third.annotate(priority="1")
    second.annotate(priority="2")
    all_seen(stage)
    steps.let_go()
    for setup in (first, second, third):
        setup.ended()
    assert steps.started == [setup.name for setup in (blocker, third, second, first)]


def test_while_it_waits_for_a_slot(stage: Stage, steps: Steps) -> None:
    blocker = Setup.gated(stage, steps)
    steps.await_start(blocker)
    setup = Setup.gated(stage, steps)
    status = setup.waits_for("Queued")
    assert (status["phase"], status["attempt"]) == ("Queued", 0)
    assert status["queuedAt"] == setup.body["metadata"]["creationTimestamp"]
    record = setup.record
    assert (record["status"], record["owner_name"]) == ("setup_queued", setup.name)
    assert (status["projectStatus"], setup.events) == ("setup_queued", [])
    setup.annotate(cancel_requested_at="1")
    assert setup.ended()[0] == "Cancelled"
    setup.annotate(retry_requested_at="1")
    setup.waits_for("Queued")
    setup.annotate(retry_requested_at="2")
    status = setup.until("told of retry 2", lambda status: status["lastHandledRetry"] == "2")
    assert status["phase"] == "Queued"
    setup.has_events("Cancelled", "RetryRequested", "RetryCoalesced")
    setup.change(suspend=True)
    setup.waits_for("Suspended")
    slots(stage, 1, 0)
    assert steps.started == [blocker.name]


def test_a_deleted_setup_holds_its_slot_until_its_processes_are_gone(stage: Stage, steps: Steps) -> None:
    deleted = Setup.make(stage, "reluctant", place=str(steps.folder))
    steps.await_start(deleted)
    setup = Setup.gated(stage, steps)
    setup.waits_for("Queued")
    deleted.delete()
    wait_for((steps.folder / "asked-to-stop").exists, "the deleted one to be stopped")
    all_seen(stage)
    assert steps.started == [deleted.name]
    steps.let_go()
    assert setup.ended()[0] == "SetupSucceeded"


def test_paused_starts_nothing_and_lets_go_on_what_runs(stage: Stage, steps: Steps) -> None:
    control(stage, concurrency="2")
    running = Setup.gated(stage, steps)
    steps.await_start(running)
    control(stage, paused="true")
    wait_for(lambda: is_held(stage), "the pause to be seen")
    waiting = Setup.gated(stage, steps)
    waiting.waits_for("Queued")
    slots(stage, 1, 2)
    assert steps.started == [running.name]
    steps.let_go(running)
    assert running.ended()[0] == "SetupSucceeded"
    slots(stage, 0, 2)
    assert waiting.status["phase"] == "Queued"
    steps.let_go()
    control(stage, paused=None)
    assert waiting.ended()[0] == "SetupSucceeded"


def is_held(stage: Stage) -> bool:
    """Whether a new setup is not started although there is a free slot; the one that is not stays in line."""
    status = Setup.make(stage, annotations={"priority": "9"}).reached("Queued", "Succeeded")
    return bool(status["phase"] == "Queued")


def test_the_number_of_slots_changes_while_setups_run(stage: Stage, steps: Steps) -> None:
    setups = [Setup.gated(stage, steps) for _ in range(4)]
    slots(stage, 1, 3)
    control(stage, concurrency="3")
    slots(stage, 3, 1)
    control(stage, concurrency="0")
    steps.let_go()
    slots(stage, 0, 1)
    control(stage, concurrency="1")
    for setup in setups:
        setup.ended()


def test_a_config_map_with_invalid_values_or_none_changes_nothing(stage: Stage, steps: Steps) -> None:
    said = stage.operator.log.read_text().count("not understood")
    control(stage, concurrency="many", paused="perhaps")
    wait_for(lambda: stage.operator.log.read_text().count("not understood") > said, "the bad values to be told")
    setups = [Setup.gated(stage, steps) for _ in range(2)]
    slots(stage, 1, 1)
    control(stage, concurrency="2", paused=None)
    slots(stage, 2, 0)
    stage.api.kubectl("delete", "configmap", CONFIG_MAP)
    setups += [Setup.gated(stage, steps)]
    slots(stage, 2, 1)
    steps.let_go(setups[0])
    slots(stage, 1, 1)
    steps.let_go()
    for setup in setups:
        setup.ended()
    stage.api.kubectl("create", "configmap", CONFIG_MAP)

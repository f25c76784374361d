"""Queue order, the number of slots, and the ConfigMap that controls them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer
from tests.support.exposition import Exposition
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.setup_handle import Setup, Steps

CONFIG_MAP = "projectsetup-queue"


def control(sandbox: Sandbox, **data: str | None) -> None:
    """Set keys of the queue's ConfigMap."""
    sandbox.api.kubectl("patch", "configmap", CONFIG_MAP, "--type=merge", "-p", json.dumps({"data": data}))


def gauge(sandbox: Sandbox, name: str) -> float:
    return Exposition(sandbox.operator.get("/metrics")[1]).value(f"projectsetup_{name}")


def slots(sandbox: Sandbox, taken: int, waiting: int) -> None:
    """Return when so many slots are taken and so many setups wait for one."""
    wanted = (taken, waiting)
    wait_for(
        lambda: (gauge(sandbox, "slots_taken"), gauge(sandbox, "queue_depth")) == wanted,
        f"{taken} slots to be taken and {waiting} setups to wait",
    )


def all_seen(sandbox: Sandbox) -> None:
    """Return once the operator has seen all changes: a new setup is reported as queued."""
    Setup.make(sandbox, annotations={"priority": "9"}).reached_reason("Queued")


@pytest.fixture(scope="module")
def other_namespace(kubeconfig: Path) -> ApiServer:
    """A second namespace, which no other operator serves."""
    return ApiServer.prepared(kubeconfig, "line")


@pytest.fixture(scope="module")
def narrow(new_sandbox: NewSandbox, other_namespace: ApiServer) -> Iterator[Sandbox]:
    """An operator with one slot."""
    with new_sandbox(concurrency="1", shutdown_grace="1ms") as sandbox:
        sandbox.operator.configure(namespaces=f"{sandbox.api.namespace} {other_namespace.namespace}")
        sandbox.api.kubectl("create", "configmap", CONFIG_MAP)
        sandbox.operator.start()
        yield sandbox


@pytest.fixture
def sandbox(narrow: Sandbox) -> Iterator[Sandbox]:
    """The same, idle before and after the test."""
    if not narrow.operator.alive:
        narrow.operator.start()
    yield narrow
    control(narrow, paused=None, concurrency=None)


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a setup in the queue."""

    priority: int
    queued_at: str
    name: str
    """`namespace/name`"""


def enqueue(sandbox: Sandbox, steps: Steps, api: ApiServer, priority: int, second: int) -> tuple[Place, Setup]:
    queued_at = f"2026-01-01T00:00:{second:02}Z"
    setup = Setup.gated(sandbox, steps, api=api, annotations={"priority": str(priority)})
    api.patch_status(setup.name, {"queuedAt": queued_at})
    return Place(priority, queued_at, f"{api.namespace}/{setup.name}"), setup


def in_order(places: list[Place]) -> list[str]:
    ordered = sorted(places, key=lambda place: (place.priority, place.queued_at, place.name))
    return [place.name.partition("/")[2] for place in ordered]


def test_the_order_is_priority_time_name_after_a_restart(
    sandbox: Sandbox, other_namespace: ApiServer, steps: Steps
) -> None:
    sandbox.operator.close()
    rng = random.Random(8)  # noqa: S311
    places = [
        enqueue(sandbox, steps, rng.choice((sandbox.api, other_namespace)), rng.randrange(3), rng.randrange(3))
        for _ in range(24)
    ]
    steps.release()
    sandbox.operator.start()
    for _, setup in places:
        setup.ended()
    assert steps.started == in_order([place for place, _ in places])


def test_a_changed_priority_applies_at_once(sandbox: Sandbox, steps: Steps) -> None:
    blocker = Setup.gated(sandbox, steps, annotations={"priority": "0"})
    steps.await_start(blocker)
    first, second, third = (Setup.gated(sandbox, steps, annotations={"priority": "5"}) for _ in range(3))
    for setup in (first, second, third):
        assert setup.reached_reason("Queued")["phase"] == "Queued"
    third.annotate(priority="1")
    second.annotate(priority="2")
    all_seen(sandbox)
    steps.release()
    for setup in (first, second, third):
        setup.ended()
    assert steps.started == [setup.name for setup in (blocker, third, second, first)]


def test_requests_to_a_queued_setup(sandbox: Sandbox, steps: Steps) -> None:
    blocker = Setup.gated(sandbox, steps)
    steps.await_start(blocker)
    setup = Setup.gated(sandbox, steps)
    status = setup.reached_reason("Queued")
    assert (status["phase"], status["attempt"]) == ("Queued", 0)
    assert status["queuedAt"] == setup.body["metadata"]["creationTimestamp"]
    record = setup.record
    assert (record["status"], record["owner_name"]) == ("setup_queued", setup.name)
    assert (status["projectStatus"], setup.events) == ("setup_queued", [])
    setup.annotate(cancel_requested_at="1")
    assert setup.ended()[0] == "Cancelled"
    setup.annotate(retry_requested_at="1")
    setup.reached_reason("Queued")
    setup.annotate(retry_requested_at="2")
    status = setup.wait_for("past retry 2", lambda status: status["lastHandledRetry"] == "2")
    assert status["phase"] == "Queued"
    setup.wait_for_events("Cancelled", "RetryRequested", "RetryCoalesced")
    setup.change(suspend=True)
    setup.reached_reason("Suspended")
    slots(sandbox, 1, 0)
    assert steps.started == [blocker.name]


def test_a_deleted_setup_holds_slot_and_project_until_its_processes_are_gone(sandbox: Sandbox, steps: Steps) -> None:
    deleted = Setup.make(sandbox, "reluctant", place=str(steps.folder))
    steps.await_start(deleted)
    other = Setup.gated(sandbox, steps)
    other.reached_reason("Queued")
    deleted.delete()
    successor = Setup.make(sandbox, "reluctant", project=deleted.name, place=str(steps.folder))
    wait_for((steps.folder / "asked-to-stop").exists, "the deleted setup to be stopped")
    all_seen(sandbox)
    assert steps.started == [deleted.name]
    steps.release()
    assert other.ended()[0] == "SetupSucceeded"
    why, status = successor.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 1)


def test_a_paused_queue_starts_nothing_and_stops_nothing(sandbox: Sandbox, steps: Steps) -> None:
    control(sandbox, concurrency="2")
    running = Setup.gated(sandbox, steps)
    steps.await_start(running)
    control(sandbox, paused="true")
    wait_for(lambda: is_held(sandbox), "the pause to take effect")
    waiting = Setup.gated(sandbox, steps)
    waiting.reached_reason("Queued")
    slots(sandbox, 1, 2)
    assert steps.started == [running.name]
    steps.release(running)
    assert running.ended()[0] == "SetupSucceeded"
    slots(sandbox, 0, 2)
    assert waiting.status["phase"] == "Queued"
    steps.release()
    control(sandbox, paused=None)
    assert waiting.ended()[0] == "SetupSucceeded"


def is_held(sandbox: Sandbox) -> bool:
    """Whether a new setup stays queued although a slot is free."""
    status = Setup.make(sandbox, annotations={"priority": "9"}).reached("Queued", "Succeeded")
    return bool(status["phase"] == "Queued")


def test_the_number_of_slots_changes_while_setups_run(sandbox: Sandbox, steps: Steps) -> None:
    setups = [Setup.gated(sandbox, steps) for _ in range(4)]
    slots(sandbox, 1, 3)
    control(sandbox, concurrency="3")
    slots(sandbox, 3, 1)
    control(sandbox, concurrency="0")
    wait_for(lambda: gauge(sandbox, "slots") == 0, "the operator to have no slots")
    steps.release()
    slots(sandbox, 0, 1)
    control(sandbox, concurrency="1")
    for setup in setups:
        setup.ended()


def test_a_config_map_with_invalid_values_or_none_changes_nothing(sandbox: Sandbox, steps: Steps) -> None:
    control(sandbox, paused="true")
    wait_for(lambda: gauge(sandbox, "queue_paused") == 1, "the pause")
    control(sandbox, concurrency="many", paused="perhaps")
    wait_for(lambda: "keeping the last valid values" in sandbox.operator.log.read_text(), "the warning")
    setups = [Setup.gated(sandbox, steps) for _ in range(2)]
    slots(sandbox, 0, 2)
    control(sandbox, paused=None)
    slots(sandbox, 1, 1)
    control(sandbox, concurrency="2")
    slots(sandbox, 2, 0)
    sandbox.api.kubectl("delete", "configmap", CONFIG_MAP)
    setups += [Setup.gated(sandbox, steps)]
    slots(sandbox, 2, 1)
    steps.release(setups[0])
    slots(sandbox, 1, 1)
    steps.release()
    for setup in setups:
        setup.ended()
    sandbox.api.kubectl("create", "configmap", CONFIG_MAP)


def test_limits_hold_back_whom_they_concern_and_nobody_else(
    sandbox: Sandbox, steps: Steps, other_namespace: ApiServer
) -> None:
    control(sandbox, concurrency="9", concurrencyPerNamespace="1")
    first = Setup.gated(sandbox, steps)
    steps.await_start(first)
    second = Setup.gated(sandbox, steps)
    slots(sandbox, 1, 1)
    other = Setup.gated(sandbox, steps, api=other_namespace)
    slots(sandbox, 2, 1)
    assert set(steps.started) == {first.name, other.name}
    control(sandbox, concurrencyPerNamespace=None, pausedRecipes="gated")
    third = Setup.gated(sandbox, steps)
    slots(sandbox, 2, 2)
    wait_for(lambda: [gauge_of(sandbox, kind) for kind in ("namespace", "recipe")] == [0, 2], "two to wait")
    control(sandbox, pausedRecipes=None, concurrencyPerRecipe="gated: 3")
    slots(sandbox, 3, 1)
    steps.release()
    for setup in (first, second, third, other):
        assert setup.ended()[0] == "SetupSucceeded"


def gauge_of(sandbox: Sandbox, limit: str) -> float:
    """How many setups wait for limits of this kind."""
    return Exposition(sandbox.operator.get("/metrics")[1]).value("projectsetup_queue_limited", limit=limit)

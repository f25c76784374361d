"""Events tell each thing once: what is told again of the same object counts up, whichever operator tells it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.setups import OPERATOR, SetupClient
from tests.support.api_server import ApiServer
from tests.support.operator_process import wait_for
from tests.support.operator_stage import Stage
from tests.support.setup_handle import Setup, Steps


def stored(api: ApiServer, name: str, reason: str) -> list[dict[str, Any]]:
    """The events of one reason, one for each object in the API server."""
    told = {event["metadata"]["name"]: event for event in api.events(name) if event["reason"] == reason}
    return list(told.values())


def told_times(setup: Setup, reason: str, times: int) -> None:
    wait_for(lambda: setup.events.count(reason) == times, f"the event {reason} to be told {times} times")


def test_what_is_ignored_again_and_again_is_one_event(new_stage: Callable[..., AbstractContextManager[Stage]]) -> None:
    with new_stage() as stage:
        stage.operator.start()
        setup = Setup.make(stage)
        setup.ended()
        for number in range(5):
            if number == 3:
                assert stage.operator.terminate() == 0
                stage.operator.start()
            setup.annotate(retry_requested_at=str(number))
            told_times(setup, "RetryIgnored", number + 1)
        (event,) = stored(setup.api, setup.name, "RetryIgnored")
        assert event["series"]["count"] == 5
        assert setup.events[:2] == ["Started", "Succeeded"]
        described = setup.api.kubectl("describe", "projectsetup", setup.name)
        assert "x5 over" in described


def test_another_series_of_attempts_is_another_count(stage: Stage, steps: Steps) -> None:
    setup = Setup.make(stage, "scripts", first='[ -e "$PARAM_PLACE/go" ] || exit 1', place=str(steps.folder))
    for retry in ("1", "2"):
        setup.reached("Failed")
        setup.annotate(retry_requested_at=retry)
        setup.until_over_again(retry)
    told_times(setup, "Failed", 3)
    assert [len(stored(setup.api, setup.name, why)) for why in ("Started", "Failed", "RetryRequested")] == [1, 1, 1]
    steps.let_go()
    setup.annotate(retry_requested_at="3")
    assert setup.until_over_again("3")[0] == "SetupSucceeded"
    wait_for(lambda: setup.events[-1] == "Succeeded", "the event of the success")


async def test_only_the_same_about_the_same_object_counts_up(stage: Stage, kubeconfig: Path) -> None:
    name = stage.api.create(spec={"suspend": True})["metadata"]["name"]
    async with await connect(Kubeconfig(str(kubeconfig))) as api:
        cluster = SetupClient(api, field_manager=OPERATOR)

        async def tell(uid: str, reason: str, message: str, reporter: str = "one") -> None:
            await cluster.post_event(
                namespace=stage.api.namespace,
                name=name,
                uid=uid,
                reason=reason,
                message=message,
                warning=False,
                reporter=reporter,
            )

        await tell("uid-1", "Failed", "why")
        await tell("uid-1", "Failed", "why", "another operator")
        await tell("uid-1", "Failed", "another why")
        await tell("uid-1", "Started", "why")
        await tell("uid-2", "Failed", "why")
    counts = [event.get("series", {}).get("count", 1) for event in stored(stage.api, name, "Failed")]
    assert sorted(counts) == [1, 1, 2]
    assert len(stored(stage.api, name, "Started")) == 1

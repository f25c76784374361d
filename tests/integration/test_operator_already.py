"""A resource that is made again for a project that is ready: a restored cluster and a GitOps tool converge."""

from __future__ import annotations

from tests.support.operator_stage import Stage, message
from tests.support.setup_handle import Setup

PUSH = 'echo CODE_COMMIT=0123456789012345678901234567890123456789 > "$STEP_OUTPUTS"'


def again(setup: Setup, recipe: str = "scripts", **parameters: str) -> Setup:
    """The resource of the same project, deleted and made again."""
    setup.delete()
    return Setup.make(setup.stage, recipe, project=setup.name, spec={"parameters": parameters})


def test_a_resource_that_is_made_again_succeeds_and_nothing_runs(stage: Stage) -> None:
    first = Setup.make(stage, "scripts", third=PUSH)
    done = first.ended()[1]
    second = again(first, third=PUSH)
    why, status = second.ended()
    assert why == "AlreadySetUp"
    assert next(c["status"] for c in status["conditions"] if c["type"] == "Ready") == "True"
    assert (status["phase"], status["attempt"], status["projectStatus"]) == ("Succeeded", 0, "ready")
    assert status["commits"] == done["commits"]
    assert "attempts" not in status or not status["attempts"]
    assert second.record["status"] == "ready"


def test_another_recipe_or_other_parameters_are_refused_with_both_named(stage: Stage) -> None:
    first = Setup.make(stage, "scripts", third=": one")
    first.ended()
    before = first.record
    second = again(first, third=": two")
    why, status = second.ended()
    assert why == "ProjectInvalidState"
    assert "third=': one'" in message(status)
    assert "third=': two'" in message(status)
    third = again(second, "instant")
    why, status = third.ended()
    assert why == "ProjectInvalidState"
    assert "recipe scripts" in message(status)
    assert "recipe instant" in message(status)
    assert third.record["status"] == before["status"] == "ready"
    assert third.record["attempt_result"] == before["attempt_result"]


def test_a_secret_that_is_not_restored_yet_keeps_nothing_waiting(stage: Stage) -> None:
    first = Setup.make(stage, "instant")
    first.ended()
    first.delete()
    spec = {"credentialsSecretRef": {"name": "not-restored"}}
    assert Setup.make(stage, "instant", project=first.name, spec=spec).ended()[0] == "AlreadySetUp"

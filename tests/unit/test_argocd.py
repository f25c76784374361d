"""What Argo CD is told of ProjectSetups: its health check and its actions, run by a Lua like Argo CD's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest
import yaml
from lupa import lua51  # type: ignore[import-untyped]  # its stubs lag behind it

from projectsetup.api.annotations import parse_annotations
from projectsetup.api.conditions import conditions_for
from projectsetup.api.models import ProjectSetupStatus, status_to_dict
from projectsetup.api.reasons import TERMINAL_FAILURES, WAITING, Reason
from tests.manifests import MANIFESTS, read

NOON: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTINGS: Final = read(MANIFESTS / "argocd" / "argocd-cm.yaml")[0]["data"]
HEALTH: Final = SETTINGS["resource.customizations.health.codemyspec.com_ProjectSetup"]
ACTIONS: Final = yaml.safe_load(SETTINGS["resource.customizations.actions.codemyspec.com_ProjectSetup"])

ABSENT_IN_ARGOCD: Final = ("string", "math", "io", "debug")
TRUTH: Final = {Reason.SETUP_SUCCEEDED: "True", **dict.fromkeys(TERMINAL_FAILURES, "False")}


def run(script: str, body: dict[str, Any]) -> Any:
    """What `script` returns for this object, without the libraries that Argo CD does not offer."""
    lua = lua51.LuaRuntime(register_eval=False, unpack_returned_tuples=True)
    for library in ABSENT_IN_ARGOCD:
        lua.globals()[library] = None
    lua.globals()["obj"] = lua.table_from(body, recursive=True)
    return lua.execute(script)


def setup(reason: Reason | None = None, *, generation: int = 1) -> dict[str, Any]:
    body: dict[str, Any] = {"metadata": {"name": "project", "generation": generation}}
    if reason is not None:
        conditions = conditions_for(
            status=TRUTH.get(reason, "Unknown"),  # type: ignore[arg-type]
            reason=reason,
            message="why",
            generation=1,
            previous=(),
            now=NOON,
        )
        body["status"] = status_to_dict(ProjectSetupStatus(observed_generation=1, conditions=conditions))
    return body


def available(body: dict[str, Any]) -> set[str]:
    found = run(ACTIONS["discovery.lua"], body)
    return {name for name in found if not found[name]["disabled"]}


def act(name: str, body: dict[str, Any]) -> dict[str, str]:
    (script,) = (action["action.lua"] for action in ACTIONS["definitions"] if action["name"] == name)
    return dict(run(script, body)["metadata"]["annotations"])


@pytest.mark.parametrize("reason", [*WAITING, *TERMINAL_FAILURES, Reason.SETUP_SUCCEEDED])
def test_health_says_what_the_conditions_say(reason: Reason) -> None:
    body = setup(reason)
    health = run(HEALTH, body)
    assert health["message"] == f"{reason}: why"
    kstatus = {condition["type"]: condition["status"] for condition in body["status"]["conditions"]}
    assert (health["status"] == "Healthy") == (kstatus["Ready"] == "True")
    assert (health["status"] == "Degraded") == (kstatus["Stalled"] == "True")
    assert (health["status"] == "Progressing") == (kstatus["Reconciling"] == "True")
    assert (health["status"] == "Suspended") == (reason is Reason.SUSPENDED)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (setup(), "the operator has not looked at it yet"),
        ({**setup(), "status": {"phase": "Queued"}}, "the operator has not looked at it yet"),
        (setup(Reason.SETUP_SUCCEEDED, generation=2), "the operator has not seen the last change yet"),
    ],
)
def test_what_the_operator_has_not_seen_is_progressing(body: dict[str, Any], message: str) -> None:
    health = run(HEALTH, body)
    assert (health["status"], health["message"]) == ("Progressing", message)


@pytest.mark.parametrize(
    ("reason", "actions"),
    [
        (None, {"cancel"}),
        (Reason.RUNNING, {"cancel"}),
        (Reason.RETRY_SCHEDULED, {"cancel"}),
        (Reason.STEP_FAILED, {"retry"}),
        (Reason.CANCELLED, {"retry"}),
        (Reason.SETUP_SUCCEEDED, set()),
    ],
)
def test_offers_what_would_have_an_effect(reason: Reason | None, actions: set[str]) -> None:
    assert available(setup(reason)) == actions


@pytest.mark.parametrize("annotations", [None, {"setup.codemyspec.com/priority": "3"}])
def test_actions_set_what_the_operator_acts_on(annotations: dict[str, str] | None) -> None:
    def with_annotations() -> dict[str, Any]:
        body = setup(Reason.STEP_FAILED)
        return body if annotations is None else {**body, "metadata": {**body["metadata"], "annotations": annotations}}

    retry, cancel = (parse_annotations(act(name, with_annotations())) for name in ("retry", "cancel"))
    for value, other in (
        (retry.retry_requested_at, retry.cancel_requested_at),
        (cancel.cancel_requested_at, cancel.retry_requested_at),
    ):
        assert value is not None
        assert datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z").tzinfo is not None
        assert other is None
    assert retry.priority == (3 if annotations else 1)


def test_actions_are_all_defined() -> None:
    assert {action["name"] for action in ACTIONS["definitions"]} == set(run(ACTIONS["discovery.lua"], setup()))

"""The health check and the actions of ProjectSetups in Argo CD, run by a Lua like that of Argo CD."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import pytest

from projectsetup.api.annotations import parse_annotations
from projectsetup.api.reasons import Reason
from tests.support import setup_bodies
from tests.support.argocd import ARGOCD, Health, action, health
from tests.support.manifests import read

NOT_LOOKED_AT: Final = "the operator has not looked at it yet"


def setup(reason: Reason | None = None, *, generation: int = 1) -> dict[str, Any]:
    body: dict[str, Any] = {"metadata": {"name": "project", "generation": generation}}
    if reason is not None:
        body["status"] = {**setup_bodies.status(reason, "why"), "observedGeneration": 1}
    return body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (setup(), NOT_LOOKED_AT),
        ({**setup(), "status": {}}, NOT_LOOKED_AT),
        ({**setup(), "status": {"observedGeneration": -1}}, NOT_LOOKED_AT),
        ({**setup(), "status": {"observedGeneration": 1, "conditions": []}}, "waiting for the operator"),
        (setup(Reason.SETUP_SUCCEEDED, generation=2), "the operator has not seen the last change yet"),
        (setup(Reason.STEP_FAILED, generation=2), "the operator has not seen the last change yet"),
    ],
)
def test_what_the_operator_has_not_seen_is_progressing(body: dict[str, Any], message: str) -> None:
    assessed = health(body)
    assert assessed.status == "Progressing"
    assert message in assessed.message


@pytest.mark.parametrize("annotations", [None, {"setup.codemyspec.com/priority": "3"}])
def test_actions_set_what_the_operator_acts_on_and_nothing_else(annotations: dict[str, str] | None) -> None:
    body = setup(Reason.STEP_FAILED)
    if annotations is not None:
        body["metadata"]["annotations"] = annotations
    for name in ("retry", "cancel"):
        patch = action(name, body)
        assert list(patch) == ["metadata"]
        assert list(patch["metadata"]) == ["annotations"]
        (value,) = patch["metadata"]["annotations"].values()
        assert datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z").tzinfo is not None
        asked = parse_annotations(patch["metadata"]["annotations"])
        wanted = {"retry": asked.retry_requested_at, "cancel": asked.cancel_requested_at}
        assert wanted == {"retry": None, "cancel": None, name: value}


@pytest.mark.parametrize(
    ("status", "assessed"),
    [
        (None, Health("Progressing", "")),
        ({"sync": {"status": "OutOfSync"}}, Health("Progressing", "")),
        ({"health": {"status": "Healthy"}}, Health("Healthy", "")),
        ({"health": {"status": "Degraded", "message": "why"}}, Health("Degraded", "why")),
    ],
)
def test_an_application_is_as_healthy_as_it_says(status: dict[str, Any] | None, assessed: Health) -> None:
    body = {"metadata": {"name": "app"}} if status is None else {"metadata": {"name": "app"}, "status": status}
    assert health(body, kind="argoproj.io_Application") == assessed


def test_the_operator_comes_before_the_projects() -> None:
    (root,) = read(ARGOCD / "root-application.yaml")
    names = root["spec"]["source"]["directory"]["include"].strip("{}").split(",")
    applications = [read(ARGOCD / name)[0] for name in names]
    waves = {app["spec"]["source"]["path"]: app["metadata"]["annotations"] for app in applications}
    assert list(waves) == ["manifests/base", "setups"]
    assert [wave["argocd.argoproj.io/sync-wave"] for wave in waves.values()] == ["0", "1"]

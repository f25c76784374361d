"""The settings of `manifests/argocd/argocd-cm.yaml` and the RBAC policy of the page, run by Argo CD."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import pytest

from projectsetup.api.annotations import parse_annotations
from projectsetup.api.reasons import Reason
from tests.support import setup_bodies
from tests.support.argocd import action, health, may
from tests.support.go_modules import ARGOCD, require
from tests.support.manifests import ROOT

UNSEEN: Final = "no status yet"
CHANGED: Final = "the operator has not seen the last change yet"
TEAM, APPLICATION = "role:team-a", "default/team-a-projects"


@pytest.fixture(scope="module", autouse=True)
def argocd() -> None:
    require(ARGOCD)


def setup(reason: Reason | None = None, *, generation: int = 1) -> dict[str, Any]:
    body: dict[str, Any] = {"metadata": {"name": "project", "generation": generation}}
    if reason is not None:
        body["status"] = {**setup_bodies.status(reason, "why"), "observedGeneration": 1}
    return body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (setup(), UNSEEN),
        ({**setup(), "status": {"observedGeneration": -1}}, UNSEEN),
        ({**setup(), "status": {"observedGeneration": 1, "conditions": []}}, UNSEEN),
        (setup(Reason.SETUP_SUCCEEDED, generation=2), CHANGED),
        (setup(Reason.STEP_FAILED, generation=2), CHANGED),
        (setup(Reason.RUNNING), "Running: why"),
    ],
)
def test_progress_says_that_it_may_be_old(body: dict[str, Any], message: str) -> None:
    """Argo CD does not evaluate the check again while a setup stays Progressing."""
    assessed = health(body)
    assert (assessed.status, assessed.message) == ("Progressing", f"{message} (as of the last refresh)")


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
    ("verb", "allowed"),
    [("action/codemyspec.com/ProjectSetup/retry", True), ("action/apps/Deployment/restart", False), ("sync", False)],
)
def test_the_policy_of_the_page_allows_the_actions_only(verb: str, allowed: bool) -> None:
    (policy,) = [
        line.partition("`p, ")[2].partition("`")[0]
        for line in (ROOT / "docs" / "gitops.md").read_text().splitlines()
        if "`p, " in line
    ]
    assert may(f"p, {policy}\n", TEAM, verb, "applications", APPLICATION) == allowed

"""What the intake decides on a request: a table of what exists and what follows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.api.resource import ProjectSetupResource, parse_resource
from projectsetup.intake.decisions import Accept, Change, Create, Decision, Refuse, Wait, Withdraw, decide
from projectsetup.projects.model import PendingRequest, ProjectStatus, RequestKind

PROJECT = UUID("1c0f7a52-8f3e-4b6e-a3a9-6f1d2b9c0001")
REQUEST = UUID("2d9e4b10-37c5-4d0a-9c1b-7a2e3c8d0002")
CANCEL = UUID("3e8d5c21-46b4-4e1b-8d2c-8b3f4d7e0003")
PREFIX = "setup.codemyspec.com/"


def request(**values: Any) -> PendingRequest:
    absent = ("recipe", "parameters", "priority", "max_attempts", "backoff", "credentials_secret", "cancelled_by")
    usual: dict[str, Any] = {
        "id": REQUEST,
        "number": 7,
        "project_id": PROJECT,
        "kind": RequestKind.SETUP,
        "project_status": ProjectStatus.SETUP_QUEUED,
        "urgency": 1,
        **dict.fromkeys((*absent, "project_namespace")),
    }
    return PendingRequest(**usual | values)


CANCELLING: dict[str, Any] = {"id": CANCEL, "kind": RequestKind.CANCEL}


def existing(
    succeeded: str = "Unknown",
    *,
    deleting: bool = False,
    running: bool = False,
    spec: dict[str, Any] | None = None,
    **annotations: str,
) -> ProjectSetupResource:
    metadata: dict[str, Any] = {
        "name": str(PROJECT),
        "namespace": "apps",
        "annotations": {PREFIX + name.replace("_", "-"): value for name, value in annotations.items()},
    }
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    condition = {
        "type": "Succeeded",
        "status": succeeded,
        "reason": "Any",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    run = {"runRef": {"engine": "local", "name": "run", "id": "1"}} if running else {}
    return parse_resource({"metadata": metadata, "spec": spec or {}, "status": {"conditions": [condition], **run}})


GO: dict[str, Any] = {"recipe": "go-service", "parameters": {"license": "MIT"}}
FULL = GO | {"priority": 0, "max_attempts": 5, "backoff": "1m", "credentials_secret": "git"}
CREATED = {PREFIX + "request-id": str(REQUEST)}
CREATED_WITH_ALL = CREATED | {PREFIX + "priority": "0", PREFIX + "max-attempts": "5", PREFIX + "backoff": "1m"}
FULL_SPEC = GO | {"credentialsSecretRef": {"name": "git"}}
RETRY = CREATED | {PREFIX + "retry-requested-at": str(REQUEST)}
CANCELS = Change({PREFIX + "cancel-requested-at": str(CANCEL)}, {})
ITS_SETUP = f"ProjectSetup apps/{PROJECT}"
IMMUTABLE = "which is immutable: delete it first"
ELSEWHERE = f"project {PROJECT} belongs to another namespace than apps, where requests are served"
TOO_LARGE = Refuse("parameters: at most 32768 bytes, names and values together", Reason.INVALID_SPEC)


@pytest.mark.parametrize(
    ("asked", "there", "decision"),
    [
        pytest.param({}, None, Create(CREATED, {}), id="a new setup"),
        pytest.param(FULL, None, Create(CREATED_WITH_ALL, FULL_SPEC), id="everything that can be asked for"),
        pytest.param({}, existing(request_id=str(REQUEST)), Accept(), id="created before a crash"),
        pytest.param({}, existing("False", request_id=str(REQUEST)), Accept(), id="created before a crash, and ended"),
        pytest.param({}, existing("False"), Change(RETRY, {}), id="a retry of a failed setup"),
        pytest.param({}, existing("Unknown"), Change(RETRY, {}), id="a retry that coalesces"),
        pytest.param(
            {"project_is_owned": True},
            existing(running=True),
            Change(RETRY, {}),
            id="a retry that coalesces with a run",
        ),
        pytest.param(
            {},
            existing(running=True),
            Wait("the end of the last attempt is not reported yet"),
            id="a retry between the end of an attempt in the record and in `.status`",
        ),
        pytest.param(
            {"priority": 0, "credentials_secret": "other"},
            existing("False"),
            Change(RETRY | {PREFIX + "priority": "0"}, {"credentialsSecretRef": {"name": "other"}}),
            id="a retry with another priority and Secret",
        ),
        pytest.param(
            {"recipe": "go-service"},
            existing("False", spec={"recipe": "node-service"}),
            Refuse(f"{ITS_SETUP} has recipe node-service, {IMMUTABLE}", Reason.INVALID_SPEC),
            id="another recipe",
        ),
        pytest.param(
            {"parameters": {"a": "1"}},
            existing("False", spec={"parameters": {"a": "2"}}),
            Refuse(f"{ITS_SETUP} has other parameters, {IMMUTABLE}", Reason.INVALID_SPEC),
            id="other parameters",
        ),
        pytest.param(GO, existing("False", spec=GO), Change(RETRY, {}), id="the same recipe and parameters"),
        pytest.param(
            {},
            existing("True"),
            Refuse(f"{ITS_SETUP} has succeeded: delete it first", Reason.PROJECT_INVALID_STATE),
            id="a project that was reset beside a ProjectSetup that has succeeded",
        ),
        pytest.param({"project_status": ProjectStatus.READY}, None, Accept(), id="ready in the meantime"),
        pytest.param({}, existing(deleting=True), Wait("its ProjectSetup is being deleted"), id="being deleted"),
        pytest.param(
            {},
            existing(cancel_requested_at="earlier"),
            Wait("an earlier cancel has not taken effect yet"),
            id="a setup after a cancel",
        ),
        pytest.param({"is_too_large": True}, None, TOO_LARGE, id="parameters that are too large to read"),
        pytest.param({"cancelled_by": CANCEL}, None, Withdraw(), id="cancelled before it was created"),
        pytest.param(
            {"cancelled_by": CANCEL},
            existing(request_id=str(REQUEST)),
            Accept(),
            id="created before a crash, then cancelled",
        ),
        pytest.param({"cancelled_by": CANCEL}, existing("False"), Withdraw(), id="cancelled before it was retried"),
        pytest.param({"cancelled_by": CANCEL}, existing(), Change(RETRY, {}), id="cancelled while one runs"),
        pytest.param(CANCELLING, existing(), CANCELS, id="a cancel"),
        pytest.param(CANCELLING, existing(cancel_requested_at=str(CANCEL)), Accept(), id="a cancel before a crash"),
        pytest.param(CANCELLING, None, Refuse("there is no setup to cancel"), id="nothing to cancel"),
        pytest.param(CANCELLING, existing("True"), Refuse("the setup had already ended"), id="a cancel too late"),
        pytest.param(CANCELLING, existing("False", retry_requested_at="new"), CANCELS, id="a cancel of a new retry"),
        pytest.param(
            {"project_namespace": "team-a"}, None, Refuse(ELSEWHERE, Reason.PROJECT_CLAIMED), id="another namespace"
        ),
        pytest.param({"project_namespace": "apps"}, None, Create(CREATED, {}), id="a project of this namespace"),
    ],
)
def test_decides(asked: dict[str, Any], there: ProjectSetupResource | None, decision: Decision) -> None:
    assert decide(request(**asked), there, namespace="apps") == decision

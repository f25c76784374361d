"""The CRD on a real API server: validation, defaults, field selectors and columns."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from projectsetup.api.crd import build_crd
from projectsetup.api.models import (
    AttemptRecord,
    Commits,
    Failure,
    ProjectSetupStatus,
    RunRef,
    parse_resource,
    status_to_dict,
)
from projectsetup.api.reasons import AttemptOutcome, Reason
from projectsetup.api.spec import PARAMETERS_MAX_BYTES
from projectsetup.api.status import conditions_for, phase_of
from tests.support.api_server import CRD_FILE, UNSEEN, ApiServer, Refused
from tests.support.operator_process import wait_for

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def api_server(kubeconfig: Path) -> ApiServer:
    return ApiServer.prepared(kubeconfig, "crd")


def status(reason: Reason, message: str = "why", **fields: object) -> ProjectSetupStatus:
    conditions = conditions_for(status="Unknown", reason=reason, message=message, generation=1, previous=(), now=NOON)
    return ProjectSetupStatus(conditions=conditions, phase=phase_of(conditions, None), **fields)


@pytest.mark.parametrize(
    "name", ["project-1", "0b6f1c1e5a434d0c8e3e5ad5f0f2a001", "0B6F1C1E-5A43-4D0C-8E3E-5AD5F0F2A001"]
)
def test_a_name_other_than_a_uuid_in_lower_case_is_refused_with_advice(api_server: ApiServer, name: str) -> None:
    with pytest.raises(Refused, match=r"metadata\.name must be a project id, a UUID in lower case"):
        api_server.create(name)


@pytest.mark.parametrize("spec", [None, {}, {"recipe": None, "parameters": None, "timeout": None}])
def test_an_empty_spec_gets_the_defaults(api_server: ApiServer, spec: dict[str, object] | None) -> None:
    body = api_server.create(spec=spec)
    assert body["spec"] == {"recipe": "python-service", "parameters": {}, "suspend": False, "timeout": "30m"}
    assert parse_resource(body).problem is None


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ({}, {"recipe": "other"}, "recipe"),
        ({"recipe": "other"}, {"recipe": None}, "recipe"),
        ({"parameters": {"license": "MIT"}}, {"parameters": {"license": "ISC"}}, "parameters"),
        ({"parameters": {"license": "MIT"}}, {"parameters": None}, "parameters"),
        ({"parameters": {"license": "MIT"}, "recipe": "other"}, None, "recipe"),
    ],
)
def test_immutable_fields(
    api_server: ApiServer, before: dict[str, object], after: dict[str, object] | None, field: str
) -> None:
    name = api_server.create(spec=before)["metadata"]["name"]
    with pytest.raises(Refused, match=f"spec.{field} is immutable; delete the ProjectSetup and create a new one"):
        api_server.patch(name, {"spec": after})


def test_mutable_fields(api_server: ApiServer) -> None:
    name = api_server.create(spec={"parameters": {"license": "MIT"}})["metadata"]["name"]
    change = {"suspend": True, "timeout": "1h30m", "credentialsSecretRef": {"name": "git"}}
    spec = api_server.patch(name, {"spec": change})["spec"]
    assert spec == {"recipe": "python-service", "parameters": {"license": "MIT"}, **change}


@pytest.mark.parametrize("timeout", ["soon", "-5m", "1d", "12345678s", "1s" * 17, "0s", "0h0.0m"])
def test_an_invalid_timeout_is_refused(api_server: ApiServer, timeout: str) -> None:
    with pytest.raises(Refused, match=r"spec\.timeout"):
        api_server.create(spec={"timeout": timeout}, dry_run=True)


@pytest.mark.parametrize("timeout", ["90s", "1m30s", "2h", "1.5h", "500ms", "0h1s"])
def test_a_duration_is_accepted(api_server: ApiServer, timeout: str) -> None:
    body = api_server.create(spec={"timeout": timeout}, dry_run=True)
    assert body["spec"]["timeout"] == timeout


@pytest.mark.parametrize(
    "spec",
    [
        {"recipe": "Python"},
        {"recipe": "-x"},
        {"recipe": "a" * 64},
        {"recipe": "a.b"},
        {"recipe": 3},
        {"suspend": "yes"},
        {"parameters": {"license": 1}},
        {"parameters": {"license": "x" * 4097}},
        {"parameters": {f"p{number}": "" for number in range(65)}},
        {"credentialsSecretRef": {}},
        {"credentialsSecretRef": {"name": "a/b"}},
        {"credentialsSecretRef": {"name": "a" * 254}},
    ],
)
def test_the_api_server_refuses_what_the_operator_would_refuse(api_server: ApiServer, spec: dict[str, object]) -> None:
    name = str(uuid.uuid4())
    with pytest.raises(Refused, match=rf"spec\.{next(iter(spec))}"):
        api_server.create(name, spec=spec, dry_run=True)
    assert parse_resource({"metadata": {"name": name}, "spec": spec}).problem is not None


def test_the_largest_spec_is_accepted(api_server: ApiServer) -> None:
    parameters = {f"p{number:02}": "é" * 254 for number in range(63)} | {"last": "x" * (PARAMETERS_MAX_BYTES - 32_197)}
    assert sum(len((name + value).encode()) for name, value in parameters.items()) == PARAMETERS_MAX_BYTES
    spec = {"recipe": "a" * 63, "parameters": parameters, "credentialsSecretRef": {"name": "a" * 253}}
    name = api_server.create(spec=spec)["metadata"]["name"]
    body = api_server.patch(name, {"spec": {"suspend": True}})
    assert parse_resource(body).problem is None


@pytest.fixture
def oversized(api_server: ApiServer, tmp_path: Path) -> str:
    """Name of a ProjectSetup from before the limit of all parameters together."""
    before = build_crd()
    schema = before["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    schema["spec"]["properties"]["parameters"]["x-kubernetes-validations"].pop()
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump(before))
    spec: dict[str, object] = {"parameters": {f"p{number}": "x" * 4096 for number in range(64)}}
    api_server.kubectl("apply", "-f", str(tmp_path / "crd.yaml"))
    wait_for(lambda: _accepts(api_server, spec), "the limit to be lifted")
    name: str = api_server.create(spec=spec)["metadata"]["name"]
    api_server.kubectl("apply", "-f", str(CRD_FILE))
    wait_for(lambda: not _accepts(api_server, spec), "the limit to be enforced again")
    return name


def _accepts(api_server: ApiServer, spec: dict[str, object]) -> bool:
    try:
        api_server.create(spec=spec, dry_run=True)
    except Refused:
        return False
    return True


def test_a_resource_from_before_the_parameter_limit_can_be_changed(api_server: ApiServer, oversized: str) -> None:
    assert api_server.patch(oversized, {"spec": {"suspend": True}})["spec"]["suspend"] is True
    assert api_server.patch(oversized, {"metadata": {"labels": {"a": "b"}}})["metadata"]["labels"] == {"a": "b"}
    written = status_to_dict(status(Reason.SUSPENDED, observed_generation=2))
    assert api_server.patch_status(oversized, written)["status"]["phase"] == "Suspended"
    assert parse_resource(api_server.get(oversized)).problem is None
    api_server.delete(oversized)


def test_a_status_of_maximum_size_is_stored(api_server: ApiServer) -> None:
    attempts = tuple(
        AttemptRecord(
            number=number,
            started_at=NOON,
            finished_at=NOON,
            outcome=AttemptOutcome.FAILED,
            reason="StepTransient",
            message="é" * 2000,
            step="compile",
        )
        for number in range(1, 11)
    )
    written = status(
        Reason.RETRY_SCHEDULED,
        "é" * 2000,
        observed_generation=1,
        project_status="setup_queued",
        step="compile",
        progress="3/7",
        attempt=10,
        max_attempts=20,
        queued_at=NOON,
        started_at=NOON,
        finished_at=NOON,
        next_attempt_at=NOON,
        run_ref=RunRef(engine="job", name="a" * 400, id="u-1"),
        failure=Failure(reason="StepTransient", message="é" * 2000, exit_code=-9, step="compile", retryable=True),
        attempts=attempts,
        commits=Commits(code_repo="c" * 400),
        last_handled_retry="é" * 262_144,
        last_handled_cancel="c",
    )
    name = api_server.create()["metadata"]["name"]
    api_server.patch_status(name, status_to_dict(written))
    stored = api_server.get(name)
    assert stored["status"] == status_to_dict(written)
    assert parse_resource(stored).status == written


def test_status_is_a_subresource(api_server: ApiServer) -> None:
    name = api_server.create(status={"attempt": 7})["metadata"]["name"]
    assert api_server.get(name)["status"] == UNSEEN
    api_server.patch_status(name, {"attempt": 1})
    body = api_server.patch(name, {"status": {"attempt": 5}, "spec": {"suspend": True}})
    assert (body["status"], body["metadata"]["generation"]) == ({**UNSEEN, "attempt": 1}, 2)


def test_a_status_has_no_managed_fields(api_server: ApiServer) -> None:
    name = api_server.create()["metadata"]["name"]
    api_server.patch_status(name, status_to_dict(status(Reason.QUEUED, attempt=1)))
    managed = api_server.get(name)["metadata"]["managedFields"]
    assert [entry["fieldsV1"]["f:status"] for entry in managed if entry.get("subresource") == "status"] == [{}]


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "Dreaming"},
        {"attempt": -1},
        {"queuedAt": "yesterday"},
        {"failure": {"reason": "StepFailed", "message": "x" * 1025, "retryable": False}},
        {"conditions": [{"type": "Ready", "status": "Maybe"}]},
    ],
)
def test_an_invalid_status_is_refused(api_server: ApiServer, change: dict[str, object]) -> None:
    name = api_server.create()["metadata"]["name"]
    with pytest.raises(Refused, match=rf"status\.{next(iter(change))}"):
        api_server.patch_status(name, change)


def test_field_selectors(api_server: ApiServer) -> None:
    recipe = f"r-{uuid.uuid4()}"
    names = [api_server.create(spec={"recipe": recipe})["metadata"]["name"] for _ in range(2)]
    for name, reason in zip(names, (Reason.RUNNING, Reason.QUEUED), strict=True):
        api_server.patch_status(name, status_to_dict(status(reason)))
    assert api_server.select(f"spec.recipe={recipe}") == set(names)
    assert api_server.select(f"spec.recipe={recipe},status.phase=Running") == {names[0]}
    assert api_server.select(f"spec.recipe={recipe},status.phase!=Running") == {names[1]}


def table(api_server: ApiServer, *arguments: str) -> list[list[str]]:
    return [line.split() for line in api_server.kubectl("get", *arguments).splitlines()]


def test_kubectl_shows_the_columns(api_server: ApiServer) -> None:
    name = api_server.create(annotations={"setup.codemyspec.com/priority": "0"})["metadata"]["name"]
    assert [len(row) for row in table(api_server, "projectsetup", name)[1:]] == [3]  # only name, priority and age
    written = status(Reason.RUNNING, "compiling", project_status="compiling", step="compile", progress="3/7", attempt=2)
    api_server.patch_status(name, status_to_dict(written))
    (head, row) = table(api_server, "psetup", name)
    assert head == ["NAME", "PROJECT", "PHASE", "STATUS", "STEP", "PROGRESS", "ATTEMPT", "PRIORITY", "AGE"]
    assert row[:-1] == [name, "Running", "compiling", "compile", "3/7", "2", "0"]
    (head, row) = table(api_server, "projectsetups", name, "-o", "wide")
    assert head[-2:] == ["REASON", "MESSAGE"]
    assert row[-2:] == ["Running", "compiling"]


def test_the_category_and_the_explanation(api_server: ApiServer) -> None:
    name = api_server.create()["metadata"]["name"]
    assert name in api_server.kubectl("get", "codemyspec")
    explanation = api_server.kubectl("explain", "projectsetup.spec")
    assert "Time limit of one attempt" in explanation
    assert {"credentialsSecretRef", "parameters", "recipe", "suspend", "timeout"} <= set(explanation.split())

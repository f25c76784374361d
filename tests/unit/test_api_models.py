from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.api.models import (
    AttemptRecord,
    Commits,
    ConditionStatus,
    Failure,
    ProjectSetupSpec,
    ProjectSetupStatus,
    Rank,
    RunRef,
    parse_resource,
    status_to_dict,
    stored_status,
)
from projectsetup.api.reasons import AttemptOutcome, Phase, Reason
from projectsetup.api.status import conditions_for

ID = "0b6f1c1e-5a43-4d0c-8e3e-5ad5f0f2a001"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SUCCEEDED = {"type": "Succeeded", "reason": "Any", "message": "", "lastTransitionTime": "2026-11-24T12:00:00Z"}


def body(**changes: object) -> dict[str, Any]:
    metadata = {"name": ID, "namespace": "team", "uid": "u-1", "generation": 2, "resourceVersion": "17"}
    return {"metadata": {**metadata, "creationTimestamp": "2026-11-24T12:00:00Z"}, "spec": {}} | changes


RESET: dict[str, Any] = {"reason": "StepTransient", "message": "reset", "step": "compile"}
FULL_STATUS = ProjectSetupStatus(
    observed_generation=2,
    phase=Phase.BACKING_OFF,
    project_status="setup_queued",
    step="compile",
    progress="3/7",
    attempt=1,
    max_attempts=3,
    queued_at=NOON,
    started_at=NOON,
    finished_at=NOON,
    next_attempt_at=NOON,
    run_ref=RunRef(engine="job", name="setup-1", id="u-2"),
    failure=Failure(exit_code=75, retryable=True, **RESET),
    attempts=(AttemptRecord(number=1, started_at=NOON, finished_at=NOON, outcome=AttemptOutcome.FAILED, **RESET),),
    commits=Commits(code_repo="c0ffee", docs_repo="d0c5"),
    last_handled_retry="r1",
    last_handled_cancel="c1",
    conditions=conditions_for(
        status="Unknown", reason=Reason.RETRY_SCHEDULED, message="", generation=2, previous=(), now=NOON
    ),
)


DOCUMENTED_FIELDS = """
observedGeneration phase projectStatus step progress attempt maxAttempts queuedAt startedAt finishedAt nextAttemptAt
runRef failure attempts commits lastHandledRetry lastHandledCancel conditions
"""


@pytest.mark.parametrize("spec", [{}, dict.fromkeys(["recipe", "parameters", "suspend", "timeout"])])
def test_reads_a_resource_whose_spec_is_empty_or_null(spec: dict[str, None]) -> None:
    resource = parse_resource(body(spec=spec))
    assert (resource.key, resource.uid, resource.generation) == (("team", ID), "u-1", 2)
    assert (resource.resource_version, resource.created_at) == ("17", NOON)
    assert resource.project_id == UUID(ID)
    assert resource.spec == ProjectSetupSpec()
    assert resource.status == ProjectSetupStatus()
    assert resource.problem is None
    assert not resource.deleting


def test_a_status_is_read_back_as_it_was_written() -> None:
    assert parse_resource(body(status=status_to_dict(FULL_STATUS))).status == FULL_STATUS


def test_a_status_is_written_with_the_documented_fields() -> None:
    written = status_to_dict(FULL_STATUS)
    assert list(written) == DOCUMENTED_FIELDS.split()
    assert list(written["failure"]) == ["reason", "message", "step", "exitCode", "retryable"]
    assert written["commits"] == {"codeRepo": "c0ffee", "docsRepo": "d0c5"}
    assert written["queuedAt"] == "2026-11-24T12:00:00Z"


def test_absent_fields_are_not_written_and_defaults_do_not_count_as_stored() -> None:
    assert status_to_dict(ProjectSetupStatus()) == {"attempt": 0, "attempts": [], "conditions": []}
    assert stored_status(parse_resource(body()).status) == {}
    for stored in ({"attempt": 0, "step": "test"}, status_to_dict(FULL_STATUS)):
        assert stored_status(parse_resource(body(status=stored)).status) == stored


def test_times_are_written_in_whole_seconds_and_no_delay_becomes_shorter() -> None:
    time = NOON + timedelta(microseconds=1)
    written = status_to_dict(ProjectSetupStatus().model_copy(update={"started_at": time, "next_attempt_at": time}))
    assert written["startedAt"] == "2026-11-24T12:00:00Z"
    assert written["nextAttemptAt"] == "2026-11-24T12:00:01Z"


@pytest.mark.parametrize(
    "text", ["2026-11-24T14:00:00+02:00", "2026-11-24T12:00:00.000000Z", "2026-11-24T12:00:00", "2026-11-24 12:00:00Z"]
)
def test_times_are_read_in_any_form(text: str) -> None:
    assert parse_resource(body(status={"queuedAt": text})).status.queued_at == NOON


def test_long_texts_are_cut() -> None:
    failure = Failure(reason="StepFailed", message="x" * 5000, retryable=False)
    commits = Commits(code_repo="c" * 5000)
    assert (len(failure.message), failure.message[-1]) == (1024, "…")
    assert len(commits.code_repo or "") == 253


def test_invalid_status_fields_of_another_version_are_ignored() -> None:
    status = {"phase": "Dreaming", "attempt": 2, "mood": "fine", "runRef": {"engine": "moon"}}
    assert parse_resource(body(status=status)).status == ProjectSetupStatus(attempt=2)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"recipe": "Python"}, "spec.recipe: 'Python' is not a recipe name"),
        ({"recipe": "a" * 64}, "is not a recipe name (at most 63 lower-case letters, digits and '-')"),
        ({"recipe": 3}, "spec.recipe: must be a string"),
        ({"timeout": "soon"}, "spec.timeout: 'soon' is not a duration greater than 0 such as 90s, 1m30s or 2h"),
        ({"timeout": 30}, "spec.timeout: '30' is not a duration greater than 0"),
        ({"suspend": "yes"}, "spec.suspend: must be true or false"),
        ({"parameters": {"license": 1}}, "spec.parameters.license: must be a string"),
        ({"parameters": ["license"]}, "spec.parameters: must be an object"),
        ({"parameters": {"a": "x" * 4097}}, "spec.parameters.a: must have at most 4096 characters"),
        ({"parameters": dict.fromkeys(map(str, range(65)), "")}, "spec.parameters: must have at most 64 entries"),
        ({"credentialsSecretRef": {}}, "spec.credentialsSecretRef.name: is required"),
        ({"credentialsSecretRef": {"name": "-x"}}, "spec.credentialsSecretRef.name: '-x' is not a Secret name"),
        ([], "spec: must be an object"),
    ],
)
def test_a_bad_spec_is_a_problem_in_one_line(spec: object, problem: str) -> None:
    resource = parse_resource(body(spec=spec, status={"attempt": 2}))
    assert problem in (resource.problem or "")
    assert len((resource.problem or "").splitlines()) == 1
    assert resource.spec is None
    assert resource.tuning is not None
    assert resource.status.attempt == 2


@pytest.mark.parametrize("name", ["project-1", ID.upper(), ID[:-1], ID.replace("-", ""), f"{ID}\n"])
def test_a_name_other_than_a_project_id_is_a_problem(name: str) -> None:
    resource = parse_resource(body(metadata=body()["metadata"] | {"name": name}))
    assert "is not a project id (expected a UUID in lower case)" in (resource.problem or "")


def test_several_problems_are_joined() -> None:
    metadata = body()["metadata"] | {"annotations": {"setup.codemyspec.com/priority": "high"}}
    resource = parse_resource(body(metadata=metadata, spec={"suspend": 1}))
    assert resource.problem == (
        "spec.suspend: must be true or false; "
        "annotation setup.codemyspec.com/priority is 'high': must be 0 to 9 (0 starts first)"
    )
    assert (resource.spec, resource.tuning) == (None, None)
    assert resource.annotations == {"setup.codemyspec.com/priority": "high"}


@pytest.mark.parametrize(
    ("truth", "is_over", "succeeded"),
    [(None, False, False), ("Unknown", False, False), ("True", True, True), ("False", True, False)],
)
def test_is_over_and_succeeded_follow_from_the_condition(
    truth: ConditionStatus | None, is_over: bool, succeeded: bool
) -> None:
    conditions = [] if truth is None else [SUCCEEDED | {"status": truth}]
    resource = parse_resource(
        body(status={"conditions": [SUCCEEDED | {"type": "Ready", "status": "True"}, *conditions]})
    )
    assert (resource.is_over, resource.succeeded) == (is_over, succeeded)
    assert (resource.condition is None) == (truth is None)


def test_a_resource_ranks_by_priority_then_queued_at_then_place() -> None:
    def rank(priority: str, queued_at: str | None, name: str = ID) -> Rank:
        metadata = {"name": name, "annotations": {"setup.codemyspec.com/priority": priority}}
        return parse_resource(body(metadata=body()["metadata"] | metadata, status={"queuedAt": queued_at})).rank

    unseen = rank("1", None)
    assert unseen == (1, NOON, f"team/{ID}")
    later = rank("1", "2026-11-24T12:00:01Z")
    first = rank("0", "2026-11-24T13:00:00Z")
    assert sorted([later, rank("1", None, "b"), unseen, first]) == [first, unseen, rank("1", None, "b"), later]


LABEL = st.from_regex("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
VALID_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "recipe": LABEL,
        "parameters": st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=5),
        "credentialsSecretRef": st.fixed_dictionaries({"name": LABEL}),
        "suspend": st.booleans(),
        "timeout": st.from_regex("[1-9][0-9]{0,3}(h|m|s|ms)", fullmatch=True),
    },
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [field.alias or "" for field in ProjectSetupSpec.model_fields.values()]


@given(VALID_SPECS)
def test_a_valid_spec_is_read_and_read_back(written: dict[str, Any]) -> None:
    resource = parse_resource(body(spec=written))
    assert resource.problem is None
    assert resource.spec is not None
    again = resource.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert parse_resource(body(spec=again)).spec == resource.spec


@given(spec=JUNK | st.dictionaries(st.sampled_from(FIELDS), JUNK), annotations=JUNK, status=JUNK, name=JUNK)
def test_junk_is_a_problem_and_never_raises(spec: object, annotations: object, status: object, name: object) -> None:
    resource = parse_resource({"metadata": {"name": name, "annotations": annotations}, "spec": spec, "status": status})
    assert resource.problem is not None
    assert len(resource.problem.splitlines()) == 1


STATUS_FIELDS = [field.alias or "" for field in ProjectSetupStatus.model_fields.values()]


@given(st.dictionaries(st.sampled_from(STATUS_FIELDS), JUNK | st.just({"reason": 1}) | st.just([{"type": "Ready"}])))
def test_a_status_of_any_shape_is_read_and_can_be_written(junk: dict[str, Any]) -> None:
    written = status_to_dict(parse_resource(body(status=junk)).status)
    assert status_to_dict(parse_resource(body(status=written)).status) == written

"""Losing the workspace root under a running operator costs attempts, but no setup."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_stage import AT_ONCE, Stage, reason


@pytest.fixture(scope="module")
def stage(new_stage: Callable[..., AbstractContextManager[Stage]]) -> Iterator[Stage]:
    with new_stage() as stage:
        stage.operator.start()
        yield stage


@pytest.fixture
def root(stage: Stage) -> Iterator[Path]:
    """The workspace root; it exists again after the test."""
    yield stage.operator.workspaces
    stage.operator.workspaces.mkdir(exist_ok=True)


def test_an_attempt_without_a_workspace_is_retried(stage: Stage, root: Path) -> None:
    shutil.rmtree(root)
    project = stage.apply(stage.project(), "instant", annotations={"backoff": "1ms", "max-attempts": "20"})
    wait_for(lambda: stage.status(project).get("attempts"), "an attempt without a workspace")
    root.mkdir()
    status = stage.ended(project)
    assert reason(status) == "SetupSucceeded"
    first = status["attempts"][0]
    assert (first["reason"], first["outcome"]) == ("EngineError", "Failed")
    assert stage.record(project)["status"] == "ready"


def test_an_attempt_that_loses_its_workspace_between_steps_is_retried(stage: Stage, root: Path, tmp_path: Path) -> None:
    begin = 'test "$ATTEMPT" = 1 || exit 0; touch "$PARAM_PLACE/begun"'
    wait = 'until test -e "$PARAM_PLACE/go"; do sleep 0.05; done'
    project = stage.apply(
        stage.project(),
        "scripts",
        annotations=AT_ONCE,
        parameters={"first": f"{begin}; {wait}", "place": str(tmp_path)},
    )
    wait_for((tmp_path / "begun").exists, "the step to begin")
    for entry in root.iterdir():
        shutil.rmtree(entry)
    (tmp_path / "go").touch()
    status = stage.ended(project)
    assert (reason(status), status["attempt"]) == ("SetupSucceeded", 2)
    assert status["attempts"][0]["reason"] == "EngineError"
    assert stage.operator.alive


def test_a_manual_retry_succeeds_after_all_attempts_had_no_workspace(stage: Stage, root: Path) -> None:
    shutil.rmtree(root)
    project = stage.apply(stage.project(), "instant", annotations=AT_ONCE)
    status = stage.ended(project)
    assert (reason(status), status["failure"]["reason"], status["failure"]["retryable"]) == (
        "AttemptsExhausted",
        "EngineError",
        True,
    )
    root.mkdir()
    stage.annotate(project, "retry-requested-at", "now")
    wait_for(lambda: stage.status(project)["phase"] == "Succeeded", "the retry to succeed")
    assert stage.record(project)["setup_error"] is None

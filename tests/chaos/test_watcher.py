"""The fault tests see what they claim to see: each kind of harm is done on purpose, and noticed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.chaos.history import Version
from tests.support.chaos.invariants import read_attempts
from tests.support.chaos.step_log import StepLog
from tests.support.chaos.watcher import Watcher
from tests.support.operator_process import wait_for

PROJECT = "a-project"


@contextmanager
def attempt(root: Path, number: int, *, project: str = PROJECT) -> Iterator[None]:
    """A process as a step would start it."""
    environment = {"PROJECT_ID": project, "ATTEMPT": str(number), "WORKSPACE": f"{root}/workspace-{number}"}
    process = subprocess.Popen(["/bin/sleep", "60"], env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_two_attempts_of_a_project_at_once_are_seen(tmp_path: Path) -> None:
    with Watcher(tmp_path) as watcher, attempt(tmp_path, 1), attempt(tmp_path, 2):
        wait_for(lambda: watcher.overlaps({PROJECT}), "the overlap to be seen")
        assert {sight.attempt for sight in watcher.overlaps({PROJECT})[0]} == {"1", "2"}
        assert watcher.overlaps({"another"}) == []


def test_attempts_one_after_the_other_and_of_two_projects_are_no_harm(tmp_path: Path) -> None:
    with Watcher(tmp_path) as watcher, attempt(tmp_path, 9, project="another"):
        for number in (1, 2, 3):
            with attempt(tmp_path, number):
                looks = watcher.looks
                wait_for(lambda: watcher.looks > looks + 1, "two looks")  # noqa: B023  # it is awaited in this turn
                assert [sight.attempt for sight in watcher.living({PROJECT})] == [str(number)]
        assert watcher.overlaps({PROJECT, "another"}) == []


def versions(*told: tuple[int, bool]) -> list[Version]:
    """Of `.status`: the attempt, and whether it runs."""
    found = []
    for revision, (number, running) in enumerate(told):
        status: dict[str, Any] = {"attempt": number, **({"runRef": {"engine": "local"}} if running else {})}
        found.append(Version(revision, {"metadata": {"uid": "u"}, "status": status}))
    return found


@pytest.mark.parametrize(
    "told",
    [
        [(0, False), (1, True), (1, True), (1, False), (2, True), (2, False)],
        [(1, True), (0, False), (1, True), (1, False)],
        [(1, True), (1, False), (0, False), (1, True)],
    ],
    ids=["one after the other", "given back", "a new series"],
)
def test_attempts_that_are_told_in_order(told: list[tuple[int, bool]]) -> None:
    assert read_attempts(versions(*told)).problems == []


@pytest.mark.parametrize(
    "told",
    [
        [(1, True), (1, False), (1, True)],
        [(1, True), (2, True)],
        [(0, False), (2, True)],
        [(2, False), (1, False)],
    ],
    ids=["the same again", "the next beside it", "one left out", "one taken back that did not run"],
)
def test_attempts_that_must_not_be_told_so(told: list[tuple[int, bool]]) -> None:
    assert read_attempts(versions((0, False), *told)).problems != []


def test_each_workspace_is_a_start_of_its_own(tmp_path: Path) -> None:
    step_log = StepLog(tmp_path / "step_log")
    lines = [(1, "begin", "one"), (1, "end", "one"), (1, "begin", "two"), (2, "begin", "three")]
    step_log.path.write_text("".join(f"{PROJECT} {number} 77 {what} /{place}\n" for number, what, place in lines))
    assert step_log.starts() == {PROJECT: {1: 2, 2: 1}}
    assert step_log.tells(PROJECT, "end")
    assert not step_log.tells("another", "end")

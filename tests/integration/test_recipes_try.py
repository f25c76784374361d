"""`recipes try`: a recipe runs on this machine with the local engine, and stops with all its processes."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.command_line import Running, process
from tests.support.processes import living, new_mark

COMMIT = """\
for name in code docs; do
  git init --quiet --initial-branch="$PARAM_BRANCH" $name
  echo "$PROJECT_NAME" >$name/README
  git -C $name add README
  git -C $name -c user.name=me -c user.email=me@example.com commit --quiet --message "Set up $PROJECT_SLUG"
done
echo committed
"""
PUSH = {
    "name": "push",
    "status": "committing",
    "run": 'projectsetup-push --branch "$PARAM_BRANCH"',
    "credentials": True,
}
PREPARE = {
    "name": "prepare",
    "status": "initializing",
    "run": 'seq 6000; echo built >here; ln -s "$WORKSPACE/here" absolute',
}


def recipe_file(folder: Path, *steps: Mapping[str, object]) -> str:
    folder.joinpath("mine.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "mine",
                "image": "registry.example/tools:1",
                "parameters": {"branch": {"default": "main"}},
                "steps": [dict(step) for step in steps],
            }
        )
    )
    return str(folder / "mine.yaml")


def test_shows_progress_output_outcome_and_what_was_pushed(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, {"name": "commit", "status": "committing", "run": COMMIT}, PUSH)
    done = process(
        "recipes", "try", file, "--param", "branch=trunk", "--project-name", "Órder Service", TMPDIR=str(tmp_path)
    )
    assert done.code == 0, done
    assert done.err.splitlines()[:3] == [
        "recipes try runs all steps on this machine and does not use images (registry.example/tools:1)",
        "Órder Service: Running, committing, commit, 0/2, attempt 1/1",
        "Órder Service: Running, committing, push, 1/2, attempt 1/1",
    ]
    assert "warning" not in done.err
    lines = done.out.splitlines()
    assert lines[0] == "committed"
    assert lines[-4].startswith("project Órder Service (")
    assert lines[-4].endswith(") is ready: the project was set up in attempt 1")
    assert [line.split(maxsplit=2)[:2] for line in lines[-3:]] == [
        ["REPOSITORY", "BRANCH"],
        ["code", "trunk"],
        ["docs", "trunk"],
    ]
    assert lines[-1].endswith("Set up order-service")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_new_recipe_runs_and_gives_the_same_commits_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = process("recipes", "new", "hello-service")
    assert (written.code, written.err) == (0, "")
    first, second = (process("recipes", "try", "hello-service.yaml", "--param", "greeting=Bye") for _ in range(2))
    assert first.code == second.code == 0, first
    assert first.out == second.out
    assert "Bye, Example Project!\n" in first.out
    assert "warning" not in first.err


@pytest.mark.parametrize(
    ("run", "failure", "retryable"),
    [
        ("echo red; exit 3", "StepFailed: step build failed with exit code 3: red", False),
        ("echo away; exit 75", "StepTransient: step build failed with exit code 75 (retryable): away", True),
    ],
)
def test_reports_a_failure_in_the_words_of_the_status(tmp_path: Path, run: str, failure: str, retryable: bool) -> None:
    file = recipe_file(tmp_path, PREPARE, {"name": "build", "status": "compiling", "run": run})
    done = process("recipes", "try", file, "--keep", TMPDIR=str(tmp_path))
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: setup of project Example Project (")
    assert done.err.endswith(f" failed: {failure}\n")
    assert done.out.splitlines()[:6000] == [str(number + 1) for number in range(6000)], "all that a step prints"
    assert ("the operator would start another attempt" in done.err) is retryable
    assert "nothing was pushed\n" in done.err
    (kept,) = tmp_path.glob("projectsetup-try-*")
    assert f"kept in {kept}: workspace, code.git and docs.git\n" in done.err
    assert (kept / "workspace" / "absolute").read_text() == "built\n", "paths of the workspace are still right"
    assert {path.name for path in kept.glob("[!.]*")} >= {"code.git", "docs.git", "workspace"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_process_and_removes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    mark = new_mark()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    file = recipe_file(
        tmp_path, {"name": "build", "status": "compiling", "run": f"setsid sleep {mark} &\necho begun\nsleep {mark}"}
    )
    with Running(tmp_path, "recipes", "try", file) as running:
        running.await_text("begun")
        running.send(number)
        done = running.done()
    assert done.code == 128 + number
    assert done.err.endswith("stopped; all its processes have ended\n")
    assert living(mark) == set()
    assert list(tmp_path.glob("projectsetup-try-*")) == []


def test_a_step_may_remove_everything_and_a_project_may_lack_a_documentation_repository(tmp_path: Path) -> None:
    run = 'test -z "$DOCS_REPO"; rm -rf "${CODE_REPO#file://}" "$WORKSPACE"; exit 3'
    file = recipe_file(tmp_path, {"name": "build", "status": "compiling", "run": run})
    done = process("recipes", "try", file, "--keep", "--no-docs-repo", TMPDIR=str(tmp_path))
    assert done.code == 1
    assert "warning: a step removed or damaged the code repository; " in done.err
    assert done.err.endswith(" failed: StepFailed: step build failed with exit code 3; it printed nothing\n")

"""Tab completion in bash and kubectl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from devcluster.build import find_programs
from projectsetup.api.reasons import Reason
from projectsetup.cli.completion import TIMEOUT
from tests.support.cli_fixtures import CliProject
from tests.support.command_line import SECONDS
from tests.support.setup_bodies import RUN, status

pytest_plugins = ["tests.support.cli_fixtures"]

PROGRAMS: Final = Path(sys.executable).parent
TAB: Final = """
eval "$(projectsetup --show-completion bash)"
while read -ra words; do
    COMP_WORDS=(projectsetup "${words[@]}")
    [[ ${words[-1]} = _ ]] && COMP_WORDS[-1]=""
    COMP_CWORD=${#words[@]}
    _projectsetup_completion projectsetup
    echo "${COMPREPLY[*]}"
done
"""
"""Reads a command line for each press of Tab (`_` for an empty last word) and prints the completions."""

Complete = Callable[..., list[list[str]]]


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the commands of this installation on PATH."""
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(TIMEOUT, f"{SECONDS}s")
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")


@pytest.fixture
def bash(path: None) -> Complete:  # noqa: ARG001  # bash needs it on PATH
    """The completions that bash offers for the last word of each line."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash on this machine")

    def complete(*lines: str) -> list[list[str]]:
        out = printed("bash", "--norc", "-c", TAB, given="".join(f"{line}\n" for line in lines))
        return [line.split() for line in out.splitlines()]

    return complete


def printed(*command: str, given: str = "") -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * SECONDS, check=True, input=given)
    assert done.stderr == ""
    return done.stdout


def test_bash_offers_matching_choices(project: CliProject, bash: Complete) -> None:
    project("setup")
    project.report(status(Reason.QUEUED, project_name="App"))
    offered = bash("queue _", "status -o _", f"projects get {project.id[:4]}", f"cancel -n {project.namespace} _")
    assert offered[:2] == [["show", "pause", "resume", "scale"], ["table", "json", "yaml", "name"]]
    assert offered[2:] == [[project.id], [project.id, "App"]]
    project.report(status(Reason.STEP_FAILED, project_name="App"))
    offered = bash(f"cancel -n {project.namespace} _", f"retry --context devcluster -n {project.namespace} _")
    assert offered == [[], [project.id, "App"]]


def test_an_unreachable_cluster_or_database_offers_nothing_silently(
    bash: Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1:1/d")
    assert bash("status _", "projects get _") == [[], []]


def test_kubectl_finds_the_plugin_and_its_completion(project: CliProject, path: None) -> None:  # noqa: ARG001  # kubectl needs it on PATH
    project("setup")
    project.report(status(Reason.RUNNING, run_ref=RUN, attempt=1, step="test", progress="4/7", project_name="App"))
    kubectl = str(find_programs()["kubectl"])
    plugins = subprocess.run([kubectl, "plugin", "list"], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert str(PROGRAMS / "kubectl-projectsetup") in plugins.stdout
    assert "Usage: kubectl projectsetup queue" in printed(kubectl, "projectsetup", "queue", "--help")
    words = (kubectl, "__complete", "projectsetup", "status", "-n", project.namespace, "")
    offered = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert offered.stdout == f"{project.id}\tApp, Running test 4/7\nApp\t{project.id}, Running test 4/7\n:4\n"

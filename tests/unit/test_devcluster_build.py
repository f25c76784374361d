"""Which programs are used, where they are cached, and which Go builds them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster import build
from devcluster.build import CONTROL_PLANE, find_programs, programs_folder
from devcluster.errors import DevclusterError

ROOT = Path(__file__).parents[2]
PROGRAMS = CONTROL_PLANE.programs
PRINTS_VERSION = 'test "$1" = version && echo go version'


def executable(path: Path, script: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


def test_kubebuilder_assets_take_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_programs() == {}
    for name in PROGRAMS:
        executable(programs_folder() / name)
    given = executable(tmp_path / "assets" / "etcd")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(given.parent))
    assert find_programs() == {name: programs_folder() / name for name in PROGRAMS} | {"etcd": given}


def test_concurrent_builds_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.defpath}")
    executable(tmp_path / "bin" / "kubectl")
    executable(
        tmp_path / "bin" / "go",
        'test "$1" = version && echo go version go1.26.0 linux/amd64 && exit\n'
        f'while test "$1" != -o; do shift; done; echo "$3" >> {tmp_path}/built; sleep 0.3; touch "$2"',
    )
    command = [sys.executable, "-m", "devcluster", "build"]
    builds = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in builds:
        process.communicate(timeout=60)
    assert [process.returncode for process in builds] == [0, 0]
    assert sorted((tmp_path / "built").read_text().split()) == sorted([PROGRAMS["etcd"], PROGRAMS["kube-apiserver"]])


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("kill -KILL $$", "killed by SIGKILL, no output"),
        ("sh -c 'kill -KILL $$'; exit $?", "killed by SIGKILL: Killed"),
        ("echo no space; exit 1", "exit code 1: no space"),
        ("exit 255", "exit code 255, no output"),
    ],
)
def test_a_failed_build_reports_the_end_of_its_log_and_installs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    executable(tmp_path / "bin" / "go", f"{PRINTS_VERSION} go1.26.6 && exit\n{script}")
    with pytest.raises(DevclusterError, match=r"building etcd failed \(log: .*\): ") as caught:
        build.build()
    assert str(caught.value).endswith(f": {why}")
    assert find_programs().keys() <= {"kubectl"}

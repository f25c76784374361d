"""The local control plane: start, kill and restart of its parts, several at once, and a clean removal.

That no data is lost by a kill is the subject of tests/chaos/test_outages.py.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devcluster import Cluster, DevclusterError
from devcluster.build import find_programs
from devcluster.processes import Program, is_in_use
from devcluster.state import State

ROOT = Path(__file__).parents[2]
LIMIT = 180


def devcluster(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command in its own process."""
    command = [sys.executable, "-m", "devcluster", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def kubectl(cluster: Cluster, *arguments: str) -> str:
    command = [str(find_programs()["kubectl"]), f"--kubeconfig={cluster.kubeconfig}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def processes_below(directory: Path) -> list[str]:
    """Processes that run in the folder or were started with a path in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = process.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
            place = process.joinpath("cwd").readlink()
        except OSError:
            continue
        if int(process.name) != os.getpid() and (str(directory) in " ".join(words) or place.is_relative_to(directory)):
            found.append(" ".join(words))
    return found


def test_processes_are_seen(tmp_path: Path) -> None:
    with subprocess.Popen(["sh", "-c", "echo; exec sleep 60"], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the kernel shows no arguments of a process that is only just starting
        assert len(processes_below(tmp_path)) == 1
        process.kill()


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A second control plane with durable data."""
    second = Cluster(tmp_path_factory.mktemp("second") / "cluster", fsync=True)
    second.up()
    yield second
    second.down()


def test_several_at_once(cluster: Cluster, second: Cluster) -> None:
    kubectl(second, "create", "namespace", "only-in-the-second")
    assert "only-in-the-second" in kubectl(second, "get", "namespaces")
    assert "only-in-the-second" not in kubectl(cluster, "get", "namespaces")
    assert cluster.database_url != second.database_url
    psycopg.connect(second.database_url).close()


def test_a_killed_server_drops_its_sessions_at_once(second: Cluster) -> None:
    with psycopg.connect(second.database_url) as connection:
        second.stop("postgres")
        assert [line for line in processes_below(second.directory) if "postgres:" in line] == []
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    second.start("postgres")


def test_a_crashed_server_is_restarted(second: Cluster) -> None:
    pid = Program(second.directory, "postgres").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + LIMIT
    while is_in_use(second.directory / "postgres"):
        assert time.monotonic() < end, f"waited {LIMIT} s for the children of PostgreSQL to end"
    second.start("postgres")
    psycopg.connect(second.database_url).close()


@pytest.mark.parametrize(("option", "expected"), [("fsync", "on"), ("full_page_writes", "on")])
def test_data_are_durable_on_request(second: Cluster, option: str, expected: str) -> None:
    with psycopg.connect(second.database_url) as connection:
        assert connection.execute(f"SHOW {option}").fetchone() == (expected,)
    assert not any("unsafe-no-fsync" in line for line in processes_below(second.directory))


def test_commands_from_up_to_down(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    done = devcluster("up", "--dir", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"devcluster: ready; to use it: set -a && . {folder / 'env'}"
    environment = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
    assert environment == {"KUBECONFIG": str(folder / "kubeconfig"), "DATABASE_URL": Cluster(folder).database_url}
    psycopg.connect(environment["DATABASE_URL"]).close()
    assert devcluster("up", "--dir", folder).stdout.startswith("devcluster: already running;")
    assert devcluster("stop", "--dir", folder, "etcd").returncode == 0
    assert not any("/etcd" in line.split(" ")[0] for line in processes_below(folder))
    assert devcluster("start", "--dir", folder, "etcd").returncode == 0
    assert "default" in kubectl(Cluster(folder), "get", "namespaces")
    assert devcluster("down", "--dir", folder).returncode == 0
    assert not folder.exists()
    assert processes_below(folder) == []


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    with pytest.raises(DevclusterError, match="is not empty and not a devcluster"):
        Cluster(tmp_path).up()
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_ports_taken_by_other_processes_and_an_existing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = State.new
    taken = ["etcd_port", "etcd_peer_port", "apiserver_port", "postgres_port"]
    states: list[State] = []
    with socket.create_server(("127.0.0.1", 0)) as other:

        def one_taken(*, fsync: bool, made_folder: bool) -> State:
            ports = {name: other.getsockname()[1] for name in taken[len(states) :][:1]}
            states.append(dataclasses.replace(new(fsync=fsync, made_folder=made_folder), **ports))
            return states[-1]

        monkeypatch.setattr(State, "new", one_taken)
        cluster = Cluster(tmp_path)
        try:
            assert cluster.up()
            assert len(states) == len(taken) + 1
            assert State.read(cluster.directory / "cluster.json") == states[-1]
        finally:
            cluster.down()
    assert list(tmp_path.iterdir()) == []  # it was not made by `up`, and stays
    assert processes_below(tmp_path) == []


def test_a_failing_part_reports_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    for name in ("etcd", "kube-apiserver", "kubectl"):
        program = tmp_path / "assets" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\necho disk is full >&2\nexit 1\n")
        program.chmod(0o755)
    folder = tmp_path / "cluster"
    done = devcluster("up", "--dir", folder, KUBEBUILDER_ASSETS=str(tmp_path / "assets"))
    assert done.returncode == 3
    assert done.stderr == "devcluster: etcd exited during start: disk is full\n"
    assert not folder.exists()
    assert processes_below(folder) == []


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    command = [sys.executable, "-m", "devcluster", "up", "--dir", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as starting:
        end = time.monotonic() + LIMIT
        while not (folder / "postgres.pid").exists():
            assert time.monotonic() < end, f"waited {LIMIT} s for PostgreSQL to be started"
            assert starting.poll() is None
        starting.send_signal(signal.SIGTERM)
        _, said = starting.communicate(timeout=LIMIT)
    assert (starting.returncode, said) == (128 + signal.SIGTERM, b"")
    assert not folder.exists()
    assert processes_below(folder) == []


def test_a_cluster_without_a_node_gets_none(cluster: Cluster) -> None:
    done = devcluster("up", "--dir", cluster.directory, "--node")
    assert done.returncode == 3
    assert done.stderr == f"devcluster: the devcluster in {cluster.directory} has no node: run `down` first\n"
    with pytest.raises(DevclusterError, match=r"has no node$"):
        cluster.load_image("image.tar")
    with pytest.raises(DevclusterError, match=r"has no node$"):
        _ = cluster.gateway
    with pytest.raises(DevclusterError, match=r"has no node$"):
        _ = cluster.in_cluster_database_url
    with pytest.raises(DevclusterError, match="unknown part 'kubelet': choose one of etcd, postgres, apiserver"):
        cluster.stop("kubelet")

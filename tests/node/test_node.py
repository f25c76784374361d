"""The local cluster with a real node: pods run, they reach what they are to reach, and nothing is left of it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from devcluster import Cluster, DevclusterError
from devcluster.images import BUSYBOX, write_busybox
from devcluster.node.host import bind
from devcluster.node.node import NODE_PARTS, Node, NodeState
from devcluster.node.prerequisites import tool
from devcluster.processes import Program
from devcluster.state import State
from tests.support.node.pods import Pods
from tests.support.operator_process import wait_for
from tests.support.processes import living, new_mark


@pytest.fixture(scope="module")
def pods(node_cluster: Cluster) -> Iterator[Pods]:
    pods = Pods(node_cluster)
    yield pods
    pods.kubectl("delete", "pods,jobs", "--all", "--now", "--wait=false")


def test_a_pod_has_logs_and_its_user_a_home_in_tmp(pods: Pods) -> None:
    rights = {"runAsUser": 65532, "runAsNonRoot": True, "allowPrivilegeEscalation": False}
    pods.run("hello", "echo hello; id -u; echo to the other side >&2")
    pods.run("ordinary", "echo mine > /tmp/mine; cat /tmp/mine; whoami", container={"securityContext": rights})
    assert sorted(pods.log("hello").splitlines()) == ["0", "hello", "to the other side"]  # two pipes keep no order
    assert pods.log("ordinary") == "mine\nnonroot\n"


def test_the_database_wants_the_password_of_pods_too(node_cluster: Cluster) -> None:
    psycopg.connect(node_cluster.in_cluster_database_url).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(node_cluster.in_cluster_database_url, password="wrong")


def test_a_pod_reaches_what_listens_at_the_gateway_and_nothing_beyond(node_cluster: Cluster, pods: Pods) -> None:
    with socket.create_server((node_cluster.gateway, 0)) as server:
        port = server.getsockname()[1]
        pods.run("inside", f"nc -w 5 {node_cluster.gateway} {port} < /dev/null && ! nc -w 1 192.0.2.77 80 < /dev/null")
        connection, (source, _) = server.accept()
        connection.close()
    assert pods.await_phase("inside", "Succeeded", "Failed") == "Succeeded"
    assert source == pods.get("inside")["status"]["podIP"]


def test_strangers_are_not_let_in_by_the_kubelet(node_cluster: Cluster) -> None:
    node = State.read(node_cluster.directory / "cluster.json").node
    assert node is not None
    context = ssl.create_default_context(cafile=str(node_cluster.directory / "node" / "kubelet.crt"))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"https://{node_cluster.gateway}:{node.kubelet_port}/pods", context=context, timeout=10)


def test_containers_outlive_a_kill_of_containerd(node_cluster: Cluster, pods: Pods) -> None:
    mark = new_mark()
    pods.run("long", "sleep 1000", container={"env": [{"name": "MARK", "value": mark}]})
    pods.await_phase("long", "Running")
    before = living(mark)
    assert before
    node_cluster.stop("containerd")
    assert Program(node_cluster.directory, "containerd").pid is None
    assert living(mark) == before
    node_cluster.start("containerd")
    wait_for(lambda: pods.ask("exec", "long", "--", "true").returncode == 0, "a command to run in the pod")
    assert living(mark) == before
    assert pods.get("long")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_what_waits_for_a_part_goes_on_when_it_is_back(node_cluster: Cluster, pods: Pods) -> None:
    for part in ("controller-manager", "scheduler", "service-address"):
        node_cluster.stop(part)
    script = "until nc -w 1 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT < /dev/null; do sleep 0.2; done"
    container = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", script]}
    job = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    pods.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "patient"}, "spec": job})
    status = "jsonpath={.items[*].status.phase}"

    def has_phase(phase: str) -> bool:
        return pods.kubectl("get", "pods", "-l", "job-name=patient", "-o", status) == phase

    for part, phase in (("controller-manager", "Pending"), ("scheduler", "Running"), ("service-address", "Succeeded")):
        assert not has_phase(phase)
        node_cluster.start(part)
        wait_for(partial(has_phase, phase), f"the pod to be {phase}")


def test_an_image_of_the_tests_own(node_cluster: Cluster, pods: Pods, tmp_path: Path) -> None:
    write_busybox(tmp_path / "image.tar", tool("busybox"), name="example.test/own/image:7")
    node_cluster.load_image(tmp_path / "image.tar")
    pods.run("own", "echo own", container={"image": "example.test/own/image:7", "imagePullPolicy": "Never"})
    assert pods.log("own") == "own\n"


def test_what_is_no_image_is_one_clear_line(node_cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(DevclusterError, match=r"image archive .*/nothing\.tar does not exist$"):
        node_cluster.load_image(tmp_path / "nothing.tar")
    (tmp_path / "text.tar").write_text("text")
    with pytest.raises(DevclusterError, match=r"importing .*text\.tar failed: .") as refused:
        node_cluster.load_image(tmp_path / "text.tar")
    assert "\n" not in str(refused.value)


def test_the_environment_names_the_database_for_pods(node_cluster: Cluster) -> None:
    environment = dict(line.split("=", 1) for line in (node_cluster.directory / "env").read_text().splitlines())
    assert environment == {
        "KUBECONFIG": str(node_cluster.kubeconfig),
        "DATABASE_URL": node_cluster.database_url,
        "DATABASE_URL_IN_CLUSTER": node_cluster.in_cluster_database_url,
    }
    assert (node_cluster.directory / "env").stat().st_mode & 0o777 == 0o600


def test_up_again_starts_what_is_down(node_cluster: Cluster) -> None:
    assert node_cluster.up() is False
    node_cluster.stop("kubelet")
    assert Cluster(node_cluster.directory).up() is True
    assert Program(node_cluster.directory, "kubelet").pid is not None


def traces(name: str, directory: Path) -> list[str]:
    """What this machine still has of a node, by its name and the folder of its cluster."""
    found = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if name in line or str(directory) in line
    ]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = process.joinpath("cmdline").read_text(errors="replace")
            groups = process.joinpath("cgroup").read_text()
        except OSError:
            continue
        if command and int(process.name) != os.getpid() and (str(directory) in command or name in command + groups):
            found.append(command)
    for folder in ("/sys/class/net", "/sys/fs/cgroup", "/sys/fs/cgroup/*", "/run", "/var/lib/cni/results"):
        found += map(str, Path("/").glob(f"{folder[1:]}/*{name}*"))
    logs = [link for link in Path("/var/log/containers").glob("*") if link.is_symlink()]
    return [*found, *(str(link) for link in logs if link.readlink().is_relative_to(directory))]


@pytest.fixture
def deep(node_cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """One more cluster with a node, in a folder whose path is longer than that of a socket may be."""
    cluster = Cluster(tmp_path / ("deep" * 10) / ("down" * 10) / "cluster", node=True)
    cluster.up()
    assert cluster.gateway != node_cluster.gateway
    yield cluster
    cluster.down()


def test_down_that_was_interrupted_leaves_nothing_of_what_runs_and_of_what_was_killed(deep: Cluster) -> None:
    pods, mark = Pods(deep), new_mark()
    memory = {"name": "memory", "emptyDir": {"medium": "Memory"}}
    plain = {"name": "plain", "emptyDir": {}}
    mounts = [
        {"name": "memory", "mountPath": "/memory"},
        {"name": "plain", "mountPath": "/plain", "subPath": "below"},
    ]
    deaf = {"env": [{"name": "MARK", "value": mark}], "volumeMounts": mounts}
    script = "trap '' TERM; touch /plain/ready; while true; do sleep 1; done"
    pods.run("deaf", script, container=deaf, spec={"volumes": [memory, plain], "terminationGracePeriodSeconds": 600})
    pods.await_phase("deaf", "Running")
    wait_for(lambda: pods.ask("exec", "deaf", "--", "ls", "/plain/ready").returncode == 0, "the pod to be ready")
    pods.kubectl("delete", "pod", "deaf", "--wait=false")
    node = State.read(deep.directory / "cluster.json").node
    assert node is not None
    assert len(traces(node.name, deep.directory)) > 10
    for name in ("etcd", "apiserver", *NODE_PARTS):
        pid = Program(deep.directory, name).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    assert living(mark)
    kubelet = deep.directory / "kubelet"
    bind(kubelet / "pods", kubelet / "plugins")
    bind(kubelet, kubelet)  # hides the one before
    Node(deep.directory, node, fsync=False).remove()  # as far as an interrupted `down` came
    bind(kubelet, kubelet)
    deep.down()
    assert traces(node.name, deep.directory) == []
    assert living(mark) == set()
    assert not deep.directory.exists()


@pytest.mark.usefixtures("node_cluster")
def test_a_start_that_fails_midway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubelet = tmp_path / "assets" / "kubelet"
    kubelet.parent.mkdir()
    kubelet.write_text("#!/bin/sh\necho no such node >&2\nexit 1\n")
    kubelet.chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(kubelet.parent))
    nodes: list[NodeState] = []
    new = NodeState.new

    def noted() -> NodeState:
        nodes.append(new())
        return nodes[-1]

    monkeypatch.setattr(NodeState, "new", noted)
    with pytest.raises(DevclusterError, match="kubelet exited during start: no such node"):
        Cluster(tmp_path / "cluster", node=True).up()
    assert not (tmp_path / "cluster").exists()
    assert [trace for node in nodes for trace in traces(node.name, tmp_path / "cluster")] == []
    assert nodes  # more than one if another process took a port

"""The parts of a real node that can be tested without one: network, settings, images and the forwarder."""

from __future__ import annotations

import io
import ipaddress
import json
import socket
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devcluster.errors import DevclusterError
from devcluster.images import BUSYBOX, write_busybox
from devcluster.node import forwarder, network
from devcluster.node.containerd import _toml
from devcluster.node.host import CHANGED, Mount, kind_at, parse, restore_settings, save_settings
from devcluster.node.network import RANGES, Network, free_network
from devcluster.node.node import NodeState
from devcluster.ports import free_port
from devcluster.processes import Program, wait_until
from devcluster.state import State

NODE = NodeState("dc1", "10.213.5.0/24", "10.213.133.0/24", 1, 2, 3, 4, "a", "b", "c")


def networks(*texts: str) -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(text) for text in texts]


def test_the_state_of_a_node_is_kept(tmp_path: Path) -> None:
    state = replace(State.new(fsync=False, made_folder=True), node=NODE)
    state.write(tmp_path / "cluster.json")
    assert State.read(tmp_path / "cluster.json") == state


def test_the_state_of_another_version_of_the_node_is_refused(tmp_path: Path) -> None:
    State.new(fsync=False, made_folder=True).write(tmp_path / "cluster.json")
    fields = json.loads((tmp_path / "cluster.json").read_text())
    for node in ({"name": "dc1"}, 5):
        (tmp_path / "cluster.json").write_text(json.dumps(fields | {"node": node}))
        with pytest.raises(DevclusterError, match="was written by another version"):
            State.read(tmp_path / "cluster.json")


def test_pods_and_services_have_addresses_of_this_machine() -> None:
    assert NODE.network == Network("dc1", *networks("10.213.5.0/24", "10.213.133.0/24"))
    assert (NODE.network.gateway, NODE.network.service_address) == ("10.213.5.1", "10.213.133.1")


@pytest.mark.parametrize(
    ("taken", "range_used"),
    [
        ([], 0),
        (["10.213.0.0/17"], 1),
        (["10.213.128.0/18", "10.213.192.0/18"], 1),
        (["10.0.0.0/8", "172.16.0.0/12"], 2),
    ],
)
def test_networks_in_use_are_skipped(taken: list[str], range_used: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_taken", lambda: networks(*taken))
    chosen = free_network("dc1")
    assert chosen.pods.subnet_of(RANGES[range_used])
    assert chosen.services.subnet_of(RANGES[range_used])
    assert not any(chosen.pods.overlaps(other) or chosen.services.overlaps(other) for other in networks(*taken))


def test_the_only_free_pair_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [pods for pods in RANGES[0].subnets(new_prefix=24) if pods != ipaddress.IPv4Network("10.213.77.0/24")]
    others.remove(ipaddress.IPv4Network("10.213.205.0/24"))
    monkeypatch.setattr(network, "_taken", lambda: [*others, *RANGES[1:]])
    assert free_network("dc1") == Network("dc1", *networks("10.213.77.0/24", "10.213.205.0/24"))


def test_no_free_network_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_taken", lambda: networks("0.0.0.0/0"))
    with pytest.raises(DevclusterError, match=r"no free network in 10\.213\.0\.0/16, "):
        free_network("dc1")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Kernel settings that no kubelet has changed."""
    folder = tmp_path / "sys"
    for name in CHANGED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("7\n")
    return folder


def changed(settings: Path) -> dict[str, str]:
    return {name: (settings / name).read_text().strip() for name in CHANGED}


def test_settings_are_restored_when_the_last_node_is_removed(settings: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    save_settings(saved, settings=settings)
    for name, value in CHANGED.items():
        (settings / name).write_text(f"{value}\n")
    save_settings(saved, settings=settings)
    restore_settings(saved, settings=settings)
    assert changed(settings) == dict.fromkeys(CHANGED, "7")
    assert not saved.exists()
    restore_settings(saved, settings=settings)


def test_settings_changed_by_others_stay(settings: Path, tmp_path: Path) -> None:
    save_settings(tmp_path / "saved", settings=settings)
    (settings / "kernel/panic").write_text("60\n")
    restore_settings(tmp_path / "saved", settings=settings)
    assert changed(settings) == dict.fromkeys(CHANGED, "7") | {"kernel/panic": "60"}


def test_mount_points_are_unescaped() -> None:
    table = (
        "29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n"
        r"64 29 0:40 / /tmp/with\040space/\134 rw - tmpfs tmpfs rw,size=1k" + "\n"
        "65 29 0:41 / /sys/fs/cgroup/pids rw shared:2 master:3 - cgroup cgroup rw,pids\n"
    )
    assert parse(table) == [
        Mount(Path("/"), "ext4", ("rw", "discard")),
        Mount(Path("/tmp/with space/\\"), "tmpfs", ("rw", "size=1k")),
        Mount(Path("/sys/fs/cgroup/pids"), "cgroup", ("rw", "pids")),
    ]


def test_the_kind_of_a_file_system() -> None:
    assert kind_at(Path("/proc/self")) == "proc"


def test_settings_of_containerd_are_toml() -> None:
    table = {"a": 1, "plugins": {"io.x.v1": {"on": True, "list": ["a\\b", 'c"d'], "empty": {}}}, "z": "é"}
    assert tomllib.loads(_toml(table)) == table


def test_busybox_becomes_an_image(tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_text("#!/bin/sh\nprintf 'sh\\nls\\nbusybox\\n'\n")
    busybox.chmod(0o755)
    write_busybox(tmp_path / "image.tar", busybox)
    with tarfile.open(tmp_path / "image.tar") as image:
        contents = {member.name: image.extractfile(member) for member in image}
        texts = {name: content.read() for name, content in contents.items() if content is not None}
    (manifest,) = json.loads(texts["manifest.json"])
    assert manifest["RepoTags"] == [BUSYBOX]
    assert json.loads(texts[manifest["Config"]])["os"] == "linux"
    with tarfile.open(fileobj=io.BytesIO(texts[manifest["Layers"][0]])) as layer:
        members = {member.name: member for member in layer}
    assert (members["bin/busybox"].mode, members["tmp"].mode) == (0o755, 0o1777)
    assert [members[name].linkname for name in ("bin/sh", "bin/ls")] == ["busybox", "busybox"]
    first = (tmp_path / "image.tar").read_bytes()
    write_busybox(tmp_path / "image.tar", busybox)
    assert (tmp_path / "image.tar").read_bytes() == first


@pytest.fixture
def forwarder_port(tmp_path: Path) -> Iterator[tuple[int, socket.socket]]:
    """The port of a forwarder, and its target."""
    port, program = free_port(), Program(tmp_path, "forwarder")
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = str(Path(forwarder.__file__))
        program.spawn([sys.executable, "-I", script, "127.0.0.1", str(port), str(server.getsockname()[1])])
        program.await_ready(lambda: True, port=port, limit=30)
        server.settimeout(30)
        yield port, server
    program.kill()


def test_each_direction_is_forwarded_and_closed_separately(forwarder_port: tuple[int, socket.socket]) -> None:
    port, server = forwarder_port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        behind, _ = server.accept()
        with behind:
            client.sendall(b"question" * 100_000)
            client.shutdown(socket.SHUT_WR)
            asked = b"".join(iter(lambda: behind.recv(1 << 16), b""))
            behind.sendall(b"answer")
        assert asked == b"question" * 100_000
        assert b"".join(iter(lambda: client.recv(1 << 16), b"")) == b"answer"


def test_a_connection_without_a_target_is_closed(forwarder_port: tuple[int, socket.socket]) -> None:
    port, server = forwarder_port
    server.close()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        assert client.recv(1) == b""


def test_waiting_times_out() -> None:
    with pytest.raises(DevclusterError, match="timed out after 0 s waiting for the end of the world"):
        wait_until(lambda: False, what="the end of the world", limit=0)

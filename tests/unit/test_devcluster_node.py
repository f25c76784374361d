"""The parts of a real node that can be tested without one: network, settings, images and the forwarder."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest

from devcluster.errors import DevclusterError
from devcluster.node import network
from devcluster.node.host import CHANGED, restore_settings, save_settings
from devcluster.node.network import RANGES, free_network
from devcluster.state import State


def networks(*texts: str) -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(text) for text in texts]


def test_the_state_of_another_version_of_the_node_is_refused(tmp_path: Path) -> None:
    State.new(fsync=False, made_folder=True).write(tmp_path / "cluster.json")
    fields = json.loads((tmp_path / "cluster.json").read_text())
    for node in ({"name": "dc1"}, 5):
        (tmp_path / "cluster.json").write_text(json.dumps(fields | {"node": node}))
        with pytest.raises(DevclusterError, match="was written by another version"):
            State.read(tmp_path / "cluster.json")


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

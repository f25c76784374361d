"""Prerequisites of a real node: found, installed, or reported as one line."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from devcluster.__main__ import main
from devcluster.errors import DevclusterError
from devcluster.node import prerequisites
from devcluster.node.prerequisites import install_packages, missing_packages, node_obstacle

PACKAGES = ["runc", "containernetworking-plugins", "busybox-static", "iproute2", "openssl"]
APT = """\
echo "$@" >> {folder}/asked
case "$*" in
  *update*) touch {folder}/updated; exit 0 ;;
esac
test -e {folder}/updated || {{ echo "E: Unable to locate package" >&2; exit 100; }}
for name in runc busybox ip openssl; do cp {static} {folder}/bin/$name; done
for name in bridge host-local; do cp {static} {folder}/cni/$name; done
"""


def elf(*segments: int) -> bytes:
    """The beginning of a program of 64 bits with segments of these types."""
    header = b"\x7fELF\x02\x01\x01".ljust(32, b"\0") + struct.pack(
        "<QQIHHHHHH", 64, 0, 0, 64, 56, len(segments), 0, 0, 0
    )
    return header + b"".join(struct.pack("<I", segment).ljust(56, b"\0") for segment in segments)


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed, and root looks at it."""
    for name in ("bin", "cni"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(prerequisites, "_FOLDERS", ())
    monkeypatch.setattr(prerequisites, "CNI_FOLDERS", (str(tmp_path / "cni"),))
    monkeypatch.setattr(prerequisites, "CAPABILITIES", {})
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def install_apt(folder: Path, script: str = APT) -> None:
    (folder / "static").write_bytes(elf(1))
    (folder / "static").chmod(0o755)
    apt = folder / "bin" / "apt-get"
    text = script.format(folder=folder, static=folder / "static")
    apt.write_text(f"#!/bin/sh\nPATH={os.defpath}\n{text}")
    apt.chmod(0o755)


def test_packages_are_installed_once_after_their_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install_apt(tmp_path)
    assert node_obstacle() is None
    install_packages(tmp_path / "log")
    assert missing_packages() == []
    asked = [line.split("300 ")[1] for line in (tmp_path / "asked").read_text().splitlines()]
    install = f"install --yes --no-install-recommends {' '.join(PACKAGES)}"
    assert asked == [install, "update", install]
    assert f"devcluster: installing {', '.join(PACKAGES)}: done after" in capsys.readouterr().out
    install_packages(tmp_path / "log")
    assert len((tmp_path / "asked").read_text().splitlines()) == len(asked)
    assert list((tmp_path / "log").iterdir()) == []


def test_packages_that_cannot_be_installed_are_one_line(tmp_path: Path) -> None:
    install_apt(tmp_path, "echo 'no route' >&2; echo 'to host' >&2; exit 1")
    with pytest.raises(DevclusterError, match=r"^installing .*, openssl failed: .*no route to host$"):
        install_packages(tmp_path / "log")


def test_without_apt_get_the_packages_are_named() -> None:
    expected = f"a real node needs {', '.join(PACKAGES)} (Debian packages)"
    assert node_obstacle() == f"{expected}, but apt-get is not available to install them"


def test_only_root_brings_up_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install_apt(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["up", "--dir", str(tmp_path / "cluster"), "--node"]) == 3
    assert capsys.readouterr().err == "devcluster: a real node needs root\n"
    assert main(["build", "--node"]) == 3
    assert capsys.readouterr().err.endswith("(Debian packages): install them as root\n")
    assert not (tmp_path / "cluster").exists()

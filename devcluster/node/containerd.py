"""containerd: runs the containers, and keeps the images."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from devcluster.errors import DevclusterError
from devcluster.images import BUSYBOX, write_busybox
from devcluster.node.cgroups import ControlGroup
from devcluster.node.machine import cni_folder, tool
from devcluster.node.mounts import kind_at
from devcluster.processes import Program, wait_until

READY_LIMIT: Final = 60.0
IMPORT_LIMIT: Final = 600.0
NAMESPACE: Final = "k8s.io"
MANAGED: Final = "io.cri-containerd.image=managed"
"""The label of images that the kubelet's side of containerd has taken note of."""
PLUGINS_LEFT_OUT: Final = ("io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri")
"""They would use folders that all containerds of a machine share."""


class Containerd:
    """One containerd. Its containers live on when it is killed; its sockets stand in `run`, whose path is short.

    Where the cluster's folder is itself on an overlay, as in many containers, files are copied instead of laid over.
    """

    def __init__(
        self, binaries: Mapping[str, Path], directory: Path, run: Path, *, group: ControlGroup, fsync: bool
    ) -> None:
        self.program = Program(directory, "containerd")
        self.socket = run / "containerd.sock"
        self._binaries = binaries
        self._directory = directory
        self._run = run
        self._group = group
        self._fsync = fsync
        self._snapshotter = "native" if kind_at(directory) == "overlay" else "overlayfs"

    def spawn(self) -> None:
        """Start it; `await_ready` follows."""
        folder = self._directory / "node"
        configuration = folder / "containerd.toml"
        configuration.write_text(_toml(self._settings(folder / "cni")))
        self.program.spawn(self._group.joined([str(self._binaries["containerd"]), f"--config={configuration}"]))

    def await_ready(self) -> None:
        """Return when it serves and has the image BUSYBOX, which each pod takes to hold its network."""
        self.program.await_ready(lambda: self._ctr("version").returncode == 0, limit=READY_LIMIT)
        if BUSYBOX in self._images():
            return
        archive = self._directory / "node" / "busybox.tar"
        write_busybox(archive, tool("busybox"))
        self.load_image(archive)
        archive.unlink()

    def load_image(self, archive: Path) -> None:
        """Take in all images of a docker-archive or OCI archive; returns when pods can use them."""
        if not archive.is_file():
            raise DevclusterError(f"there is no image archive {archive}")
        done = self._ctr(
            "images", "import", "--local", f"--snapshotter={self._snapshotter}", str(archive), limit=IMPORT_LIMIT
        )
        if done.returncode != 0:
            raise DevclusterError(f"{archive} could not be imported: {_last_line(done.stderr)}")
        wait_until(
            lambda: all(MANAGED in labels for labels in self._images().values()),
            what=f"the images of {archive} to be ready for pods",
            limit=READY_LIMIT,
        )

    def _images(self) -> dict[str, str]:
        """The names of all images and their labels."""
        rows = [line.split() for line in self._ctr("images", "list").stdout.splitlines()[1:]]
        return {row[0]: row[-1] for row in rows}

    def _ctr(self, *arguments: str, limit: float = READY_LIMIT) -> subprocess.CompletedProcess[str]:
        command = [str(self._binaries["ctr"]), f"--address={self.socket}", f"--namespace={NAMESPACE}", *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
        except subprocess.TimeoutExpired as error:
            raise DevclusterError(f"ctr {' '.join(arguments)} did not end within {limit:.0f} s") from error

    def _settings(self, cni: Path) -> dict[str, Any]:
        runc = {
            "runtime_type": "io.containerd.runc.v2",
            "runtime_path": str(self._binaries["containerd-shim-runc-v2"]),
            "options": {"BinaryName": str(tool("runc")), "Root": str(self._run / "runc"), "SystemdCgroup": False},
        }
        plugins: dict[str, Any] = {
            "io.containerd.server.v1.grpc": {"address": str(self.socket)},
            "io.containerd.server.v1.ttrpc": {"address": f"{self.socket}.ttrpc"},
            "io.containerd.shim.v1.manager": {"socket_dir": str(self._run / "shims")},
            "io.containerd.metadata.v1.bolt": {"no_sync": not self._fsync},
            "io.containerd.cri.v1.images": {
                "snapshotter": self._snapshotter,
                "pinned_images": {"sandbox": BUSYBOX},
            },
            "io.containerd.cri.v1.runtime": {
                "restrict_oom_score_adj": True,
                "netns_mounts_under_state_dir": True,
                "containerd": {"runtimes": {"runc": runc}},
                "cni": {
                    "bin_dirs": [str(cni_folder())],
                    "conf_dir": str(cni / "net.d"),
                    "use_internal_loopback": True,
                },
            },
        }
        return {
            "version": 4,
            "root": str(self._directory / "containerd"),
            "state": str(self._run / "containerd"),
            "disabled_plugins": list(PLUGINS_LEFT_OUT),
            "plugins": plugins,
        }


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """TOML of tables, texts, lists of texts, numbers and truth values, whose JSON is TOML too."""
    lines = [f"[{'.'.join(map(json.dumps, path))}]"] if path else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    tables = [_toml(value, (*path, key)) for key, value in table.items() if isinstance(value, Mapping)]
    return "\n".join([*lines, *tables])

"""containerd: runs containers and stores images."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from devcluster.errors import DevclusterError
from devcluster.images import BUSYBOX, write_busybox
from devcluster.node.host import ControlGroup, kind_at
from devcluster.node.prerequisites import cni_folder, tool
from devcluster.processes import Program, wait_until

READY_LIMIT: Final = 60.0
IMPORT_LIMIT: Final = 600.0
NAMESPACE: Final = "k8s.io"
MANAGED: Final = "io.cri-containerd.image=managed"
"""The label of images that the CRI plugin has registered."""
PLUGINS_LEFT_OUT: Final = ("io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri")
"""Plugins that use folders shared by all containerds of a machine."""


class Containerd:
    """A containerd; its containers survive its death. Its sockets are in `run`, because their paths must be short.

    Uses the native snapshotter if the folder of the cluster is on an overlay itself, as in many containers.
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
        """Start it without waiting; call `await_ready` afterwards."""
        folder = self._directory / "node"
        configuration = folder / "containerd.toml"
        configuration.write_text(_toml(self._settings(folder / "cni")))
        self.program.spawn(self._group.joined([str(self._binaries["containerd"]), f"--config={configuration}"]))

    def await_ready(self) -> None:
        """Wait until it serves, and import the image BUSYBOX, which is the sandbox of each pod."""
        self.program.await_ready(lambda: self._ctr("version").returncode == 0, limit=READY_LIMIT)
        if BUSYBOX in self._images():
            return
        archive = self._directory / "node" / "busybox.tar"
        write_busybox(archive, tool("busybox"))
        self.load_image(archive)
        archive.unlink()

    def load_image(self, archive: Path) -> None:
        """Import all images of a docker-archive or OCI archive, and wait until pods can use them."""
        if not archive.is_file():
            raise DevclusterError(f"image archive {archive} does not exist")
        done = self._ctr(
            "images", "import", "--local", f"--snapshotter={self._snapshotter}", str(archive), limit=IMPORT_LIMIT
        )
        if done.returncode != 0:
            raise DevclusterError(f"importing {archive} failed: {_last_line(done.stderr)}")
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
            raise DevclusterError(f"ctr {' '.join(arguments)} timed out after {limit:.0f} s") from error

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
    return lines[-1] if lines else "no output"


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """A table as TOML; the values must be such that their JSON is TOML: strings, lists, numbers and booleans."""
    lines = [f"[{'.'.join(map(json.dumps, path))}]"] if path else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    tables = [_toml(value, (*path, key)) for key, value in table.items() if isinstance(value, Mapping)]
    return "\n".join([*lines, *tables])

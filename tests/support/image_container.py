"""An image from a docker-archive and its containers: no network but loopback, no privileges, not root."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

USER: Final = 65532
NAMESPACES: Final = ("--mount", "--pid", "--net", "--ipc", "--uts")
TEMPORARY: Final = "/tmp"

_WHITEOUT: Final = ".wh."
_SECONDS: Final = 300.0
_LOOPBACK_UP: Final = """
import fcntl, socket, struct
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
"""


@dataclass(frozen=True, slots=True)
class Image:
    """The files of an image, unpacked at `root`, and its configuration."""

    root: Path
    description: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every container."""
        return dict(variable.split("=", 1) for variable in self.description["config"]["Env"])

    @property
    def entrypoint(self) -> list[str]:
        """The command before the arguments."""
        return list(self.description["config"]["Entrypoint"])

    def run(
        self,
        *command: str,
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[str, Path] | None = None,
        folder: str = "/",
    ) -> tuple[int, str]:
        """Run a command; returns exit code and output. Only /tmp and the mounted folders are writable."""
        variables = {**self.environment, **(environment or {})}
        script = [
            [sys.executable, "-c", _LOOPBACK_UP],
            *self._mounting(mounts or {}),
            ["cd", str(self.root)],
            [
                *("exec", "chroot", ".", "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
                *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--"),
                *("env", "--ignore-environment", f"--chdir={folder}", *(f"{k}={v}" for k, v in variables.items())),
                *command,
            ],
        ]
        done = subprocess.run(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", "sh", "-euc", "\n".join(map(shlex.join, script))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def _mounting(self, mounts: Mapping[str, Path]) -> list[list[str]]:
        root = str(self.root)
        for path in mounts:
            Path(f"{root}{path}").mkdir(parents=True, exist_ok=True)
        return [
            ["mount", "--bind", root, root],
            ["mount", "-o", "remount,bind,ro", root],
            ["mount", "-t", "proc", "proc", f"{root}/proc"],
            ["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", f"{root}{TEMPORARY}"],
            ["mount", "--rbind", "/dev", f"{root}/dev"],
            *(["mount", "--bind", str(folder), f"{root}{path}"] for path, folder in mounts.items()),
        ]


def unpack(archive: Path, root: Path) -> Image:
    """Unpack the layers, one over the other, into the new folder `root`."""
    root.mkdir()
    with tarfile.open(archive) as tar:
        (manifest,) = json.loads(_read(tar, "manifest.json"))
        for name in manifest["Layers"]:
            _lay(tar, name, root)
        return Image(root, json.loads(_read(tar, manifest["Config"])))


def _lay(archive: tarfile.TarFile, name: str, root: Path) -> None:
    layer = archive.extractfile(name)
    assert layer is not None, name
    with tarfile.open(fileobj=layer) as members:
        for member in members.getnames():
            path = root / member
            if path.name.startswith(_WHITEOUT):
                _remove(path.with_name(path.name.removeprefix(_WHITEOUT)))
    layer.seek(0)
    command = ["tar", "--extract", "--numeric-owner", f"--exclude={_WHITEOUT}*", f"--directory={root}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        shutil.copyfileobj(layer, process.stdin, 1 << 20)
        process.stdin.close()
    assert process.returncode == 0, name


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, name
    return file.read()

"""A small image made without a container engine, as an archive that containerd imports."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

BUSYBOX: Final = "devcluster.local/busybox:1"
"""A shell and small tools for tests; sleeps unless a command is given."""
ORDINARY_USER: Final = 65532
PASSWD: Final = f"""\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/tmp:/bin/sh
nonroot:x:{ORDINARY_USER}:{ORDINARY_USER}:nonroot:/tmp:/bin/sh
"""
GROUP: Final = f"root:x:0:\nnogroup:x:65534:\nnonroot:x:{ORDINARY_USER}:\n"
_FOLDERS: Final = {"bin": 0o755, "dev": 0o755, "etc": 0o755, "proc": 0o755, "root": 0o700, "sys": 0o755, "tmp": 0o1777}
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def write_busybox(
    archive: Path, busybox: Path, *, name: str = BUSYBOX, programs: Mapping[str, Path] | None = None
) -> None:
    """Write an image of this name as a docker-archive; `busybox` must be a static program.

    `programs` are more static programs, by their path in the image.
    """
    done = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True, timeout=30)
    contents = {"bin/busybox": busybox.read_bytes()}
    contents |= {path: program.read_bytes() for path, program in (programs or {}).items()}
    layer = _layer(contents, sorted(set(done.stdout.split()) - {"busybox"}))
    configuration = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    described = json.dumps(configuration).encode()
    file = f"{hashlib.sha256(described).hexdigest()}.json"
    manifest = [{"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, "manifest.json", json.dumps(manifest).encode())
        _add(tar, file, described)
        _add(tar, "layer.tar", layer)


def _layer(programs: Mapping[str, bytes], applets: list[str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for folder, mode in _FOLDERS.items():
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for path, program in programs.items():
            _add(tar, path, program, mode=0o755)
        for applet in applets:
            _link(tar, f"bin/{applet}", "busybox")
        for folder in ("sbin", "usr"):
            _link(tar, folder, "bin" if folder == "sbin" else ".")
        _add(tar, "etc/passwd", PASSWD.encode())
        _add(tar, "etc/group", GROUP.encode())
    return content.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)

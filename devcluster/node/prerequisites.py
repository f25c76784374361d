"""Prerequisites of a real node: root, capabilities, cgroups, and programs of Debian packages."""

from __future__ import annotations

import os
import shutil
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from devcluster import debian
from devcluster.errors import DevclusterError

CAPABILITIES: Final = {"SYS_ADMIN": 21, "NET_ADMIN": 12, "SYS_CHROOT": 18, "MKNOD": 27, "KILL": 5}
"""Capabilities that a node needs and ordinary containers lack, with their bits."""
CNI_FOLDERS: Final = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
CNI_PLUGINS: Final = ("bridge", "host-local")
_FOLDERS: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_ELF: Final = b"\x7fELF"
_INTERPRETER: Final = 3


def node_obstacle() -> str | None:
    """Why no real node can run here, as one line; None if one can, once `build --node` has installed packages."""
    if sys.platform != "linux":
        return f"a real node runs only on Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "a real node needs root"
    if lacking := _lacking(Path("/proc/self/status").read_text()):
        return f"a real node needs the capabilities {', '.join(lacking)}"
    if not any("cgroup" in line.partition(" - ")[2] for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        return "a real node needs cgroups, but none are mounted"
    if (missing := missing_packages()) and shutil.which("apt-get") is None:
        return f"a real node needs {_as_debian_names_them(missing)}, but apt-get is not available to install them"
    return None


def missing_packages() -> list[str]:
    """The Debian packages that are missing, or incomplete."""
    return [package for package, is_there in _PACKAGES.items() if not is_there()]


def install_packages(log_folder: Path) -> None:
    """Install the missing Debian packages; DevclusterError says what to do if that is impossible."""
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise DevclusterError(f"a real node needs {_as_debian_names_them(missing)}: install them as root")
    log_folder.mkdir(parents=True, exist_ok=True)
    debian.install(missing_packages, log_folder / "packages.log")


def tool(name: str) -> Path:
    """A program of this machine, on the PATH or in a standard folder; DevclusterError if it is missing."""
    found = _find(name)
    if found is None:
        raise DevclusterError(f"{name} is not installed: run `python -m devcluster build --node`")
    return found


def cni_folder() -> Path:
    """The folder of the CNI plugins; DevclusterError if they are missing."""
    for folder in map(Path, CNI_FOLDERS):
        if all((folder / plugin).is_file() for plugin in CNI_PLUGINS):
            return folder
    raise DevclusterError(f"CNI plugins {', '.join(CNI_PLUGINS)} not found in {', '.join(CNI_FOLDERS)}")


def is_static(program: Path) -> bool:
    """Whether a program needs no libraries: a 64-bit ELF file without an interpreter."""
    with program.open("rb") as file:
        header = file.read(64)
        if len(header) < 64 or not header.startswith(_ELF + b"\x02\x01"):  # noqa: PLR2004  # 64-bit, little-endian
            return False
        begin = struct.unpack_from("<Q", header, 32)[0]
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(begin)
        table = file.read(size * count)
    return all(struct.unpack_from("<I", table, size * number)[0] != _INTERPRETER for number in range(count))


def _lacking(status: str) -> list[str]:
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]


def _as_debian_names_them(packages: list[str]) -> str:
    return f"{', '.join(packages)} (Debian packages)"


def _find(name: str) -> Path | None:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_FOLDERS]))
    return None if found is None else Path(found)


def _has_cni() -> bool:
    try:
        cni_folder()
    except DevclusterError:
        return False
    return True


def _has_busybox() -> bool:
    busybox = _find("busybox")
    return busybox is not None and is_static(busybox)


_PACKAGES: Final[Mapping[str, Callable[[], bool]]] = {
    "runc": lambda: _find("runc") is not None,
    "containernetworking-plugins": _has_cni,
    "busybox-static": _has_busybox,
    "iproute2": lambda: _find("ip") is not None,
    "openssl": lambda: _find("openssl") is not None,
}

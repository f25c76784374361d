"""Installs Debian packages, or unpacks them into a folder, with progress lines."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from devcluster.command_line import failure_reason, report_until_done
from devcluster.errors import DevclusterError

_INSTALL: Final = (
    'get() { apt-get -o DPkg::Lock::Timeout=300 "$@"; }; '
    'install() { get install --yes --no-install-recommends "$@"; }; '
    'install "$@" || { get update && install "$@"; }'
)
_UNPACK: Final = """\
names() { echo "$1"; apt-cache depends "$1" | sed -En "s/^ *Depends: ($2)/\\1/p"; }
download() { apt-get download $(names "$@"); }
download "$@" || { apt-get update && download "$@"; }
for package in *.deb; do dpkg-deb --extract "$package" unpacked; done
"""
TOOLS_TO_UNPACK: Final = ("apt-get", "dpkg-deb")


def install(missing: Callable[[], Sequence[str]], log: Path, *, prefix: str = "devcluster") -> None:
    """Install the packages that `missing` returns, as root; DevclusterError, with the end of the log, if any is left.

    The folder of `log` must exist; the log is kept on failure.
    """
    packages = missing()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _INSTALL, "sh", *packages],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
        report_until_done(process, f"installing {', '.join(packages)}", prefix=prefix)
    if process.returncode != 0 or (packages := missing()):
        raise DevclusterError(f"installing {', '.join(packages)} failed: {failure_reason(process.returncode, log)}")
    log.unlink()


def unpack(package: str, folder: Path, log: Path, *, libraries: str = "nothing", prefix: str = "devcluster") -> Path:
    """Download the package into `folder` and unpack it without installing it; the root of its files.

    `libraries` is a pattern of dependencies to unpack as well. Raises DevclusterError like `install`.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-euc", _UNPACK, "sh", package, libraries],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        report_until_done(process, f"downloading {package}", prefix=prefix)
    if process.returncode != 0:
        raise DevclusterError(f"downloading {package} failed: {failure_reason(process.returncode, log)}")
    log.unlink()
    return folder / "unpacked"

"""Installing Debian's packages, or unpacking them into a folder, with progress."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError
from devcluster.progress import tell_until_done, why_failed

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


def install(missing: Callable[[], Sequence[str]], log: Path, *, teller: str = "devcluster") -> None:
    """Install the packages that are `missing`, as root; DevclusterError, with the end of the log, when some still are.

    The folder of the log has to be there; the log is kept when something goes wrong.
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
        tell_until_done(process, f"installing {', '.join(packages)}", teller=teller)
    if process.returncode != 0 or (packages := missing()):
        raise DevclusterError(f"{', '.join(packages)} could not be installed: {why_failed(process.returncode, log)}")
    log.unlink()


def unpack(package: str, folder: Path, log: Path, *, libraries: str = "nothing", teller: str = "devcluster") -> Path:
    """Download the package into `folder` and unpack it there, without installing it; the root of what it holds.

    `libraries` is a pattern of the packages it depends on that are unpacked as well. DevclusterError as `install`.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-euc", _UNPACK, "sh", package, libraries],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        tell_until_done(process, f"downloading {package}", teller=teller)
    if process.returncode != 0:
        raise DevclusterError(f"{package} could not be downloaded: {why_failed(process.returncode, log)}")
    log.unlink()
    return folder / "unpacked"

"""Installing Debian's packages, with progress."""

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

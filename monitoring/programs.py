"""Prometheus and promtool, of this machine or out of Debian's package, which is unpacked and not installed."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from devcluster.cache import only_one_build, user_cache
from devcluster.debian import TOOLS_TO_UNPACK, unpack
from devcluster.errors import DevclusterError
from monitoring.errors import MonitoringError

PROGRAMS: Final = ("prometheus", "promtool")


def cache_folder() -> Path:
    """Where the programs are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return user_cache("projectsetup-monitoring")


def find_programs() -> dict[str, Path]:
    """Those that are there already: in the cache, or on the PATH."""
    found: dict[str, Path] = {}
    for name in PROGRAMS:
        kept = cache_folder() / name
        there = str(kept) if kept.is_file() else shutil.which(name)
        found |= {name: Path(there)} if there else {}
    return found


def obstacle() -> str | None:
    """Why they are not there and cannot be had; None when they can."""
    if find_programs().keys() >= {*PROGRAMS}:
        return None
    missing = [tool for tool in TOOLS_TO_UNPACK if shutil.which(tool) is None]
    return f"Prometheus is not installed, and there is no {' and no '.join(missing)} to fetch it" if missing else None


def fetch() -> dict[str, Path]:
    """The programs; downloaded once, with progress on standard output. Raises MonitoringError."""
    if (why := obstacle()) is not None:
        raise MonitoringError(why)
    if find_programs().keys() < {*PROGRAMS}:
        with only_one_build(cache_folder(), teller="monitoring"):
            if find_programs().keys() < {*PROGRAMS}:
                _unpack()
    return find_programs()


def _unpack() -> None:
    with TemporaryDirectory(dir=cache_folder()) as folder:
        try:
            root = unpack("prometheus", Path(folder), cache_folder() / "download.log", teller="monitoring")
        except DevclusterError as error:
            raise MonitoringError(str(error)) from error
        for name in PROGRAMS:
            (root / "usr" / "bin" / name).rename(cache_folder() / name)

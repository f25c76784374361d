"""The Python of Debian 13, on which peers are compared: that of the operator's image, and new enough for Oban."""

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
OURS: Final = ROOT / "requirements.lock"
OBAN: Final = Path(__file__).with_name("requirements-oban.lock")
_DEBOOTSTRAP: Final = "debootstrap"
_ERLPACK: Final = '''\
"""Stands in for erlpack, which needs a compiler. Oban encodes with it only the results that a worker asks to record."""


def pack(value):
    raise NotImplementedError("recorded results need erlpack")


def unpack(binary):
    raise NotImplementedError("recorded results need erlpack")
'''
_ENTER: Final = """\
root=$1 current=$2 libraries=$3
mount -t tmpfs tmpfs "$root/tmp"
for path in /dev /proc "$2" "$3" "$4"; do mkdir -p "$root$path"; mount --rbind "$path" "$root$path"; done
shift 4
export PYTHONPATH="$libraries:$current/operator"
unset PYTHONDONTWRITEBYTECODE  # or every start compiles everything
exec chroot "$root" env --chdir="$current" "$@"
"""


def obstacle() -> str | None:
    """Why it cannot be built or entered here; None if it can be."""
    if os.geteuid() != 0:
        return "a separate Debian for Python needs root"
    if _root().exists():
        return None
    if shutil.which(_DEBOOTSTRAP) is None and shutil.which("apt-get") is None:
        return f"a separate Debian for Python needs {_DEBOOTSTRAP}, but apt-get is not available to install it"
    try:
        debian_mirror()
    except (ImagesError, OSError) as error:
        return f"a separate Debian for Python cannot be built here: {error}"
    return None


def python(requirements: Path, folder: Path) -> list[str]:
    """The command that runs Python in a separate Debian; what is missing is built. Raises ImagesError.

    It has the packages of this lock file, this repository as its current folder, and `folder` at the same path as here.
    """
    root, libraries = _root(), _libraries(requirements)
    with build_lock(root.parent, prefix="benchmarks"):
        if not root.exists():
            _bootstrap(root)
        if not libraries.exists():
            _install(requirements, libraries)
    paths = [str(path) for path in (root, ROOT, libraries, folder)]
    return ["unshare", "--mount", "sh", "-euc", _ENTER, "sh", *paths, f"python{PYTHON}"]


def _root() -> Path:
    return user_cache("projectsetup-benchmarks") / f"{RELEASE}-python{PYTHON}"


def _libraries(requirements: Path) -> Path:
    key = hashlib.sha256(_ERLPACK.encode() + requirements.read_bytes()).hexdigest()[:16]
    return _root().parent / f"{requirements.stem}-{key}"


def _bootstrap(root: Path) -> None:
    unfinished = root.with_name(f"{root.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    if _missing_programs():
        install(_missing_programs, root.parent / "apt-get.log", prefix="benchmarks")
    options = ["--variant=minbase", f"--include=python{PYTHON}"]
    command = [*ISOLATED, _DEBOOTSTRAP, *options, RELEASE, str(unfinished), debian_mirror()]
    run(command, f"bootstrapping Debian ({RELEASE}) with Python {PYTHON}", root.parent / "bootstrap.log", apt_proxy())
    unfinished.rename(root)


def _missing_programs() -> Sequence[str]:
    return [] if shutil.which(_DEBOOTSTRAP) else [_DEBOOTSTRAP]


def _install(requirements: Path, libraries: Path) -> None:
    """Install the packages, without running that Python, and remove those of older lock files of this name."""
    for old in libraries.parent.glob(f"{requirements.stem}-????????????????*"):
        shutil.rmtree(old)
    unfinished = libraries.with_name(f"{libraries.name}.new")
    options = ["--quiet", "--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}", f"--target={unfinished}"]
    lock = ["--require-hashes", f"--requirement={requirements}"]
    command = [sys.executable, "-m", "uv", "pip", "install", *options, *lock]
    run(command, f"installing {requirements.name} for Python {PYTHON}", libraries.parent / "install.log")
    if requirements == OBAN:
        (unfinished / "erlpack.py").write_text(_ERLPACK)
    unfinished.rename(libraries)

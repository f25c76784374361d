"""The base image: a minimal Debian without traces of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from images.commands import ISOLATED, run
from images.sources import OPTIONS, SOURCES, apt_proxy, debian_mirror

_LEFT_OUT: Final = ("doc", "groff", "info", "linda", "lintian", "locale", "man")
_KEPT: Final = "/usr/share/doc/*/copyright"
_CLEARED: Final = ("dev", "run", "var/cache/apt", "var/lib/apt/lists", "var/log")
_EMPTY: Final = (SOURCES, OPTIONS, "/etc/hostname", "/etc/resolv.conf", "/etc/machine-id")


def make_base(release: str, target: Path, log: Path) -> None:
    """Create the files of the base image in `target`, which must not exist."""
    command = [*ISOLATED, "debootstrap", "--variant=minbase", release, str(target), debian_mirror()]
    run(command, f"bootstrapping Debian ({release})", log, apt_proxy())
    _leave_out_documentation(target)
    for name in _CLEARED:
        _clear(target / name)
    for name in _EMPTY:
        path = target / name.lstrip("/")
        path.unlink(missing_ok=True)
        path.touch()


def _leave_out_documentation(target: Path) -> None:
    """Remove documentation, and keep dpkg from installing it."""
    lines = [*(f"path-exclude /usr/share/{name}/*" for name in _LEFT_OUT), f"path-include {_KEPT}"]
    (target / "etc/dpkg/dpkg.cfg.d/no-documentation").write_text("".join(f"{line}\n" for line in lines))
    kept = set(target.glob(_KEPT.lstrip("/")))
    for name in _LEFT_OUT:
        for path in (target / "usr/share" / name).rglob("*"):
            if not path.is_dir() and path not in kept:
                path.unlink()


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

"""File systems for tests: small, full, read-only or noexec."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def mount(path: Path, options: str) -> None:
    """Mount a tmpfs with these options at the directory `path`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)


@contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs with these options at the new directory `path`; unmounts it and everything below afterwards."""
    path.mkdir(exist_ok=True)
    mount(path, options)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def remount(path: Path, options: str) -> None:
    """Change the options of the mount at `path`."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(path)], check=True)

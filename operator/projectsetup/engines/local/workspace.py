"""The directory of one attempt, and the file system that it is on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Final

from projectsetup.api.reasons import Reason
from projectsetup.engines.local.supervisor.directories import remove_tree
from projectsetup.setup.output import OUTPUTS_BYTES
from projectsetup.setup.types import HEALTHY, InfrastructureError, Volume

_MODE: Final = 0o700
_MIN_FREE_BYTES: Final = 1 << 20
_MIN_FREE_INODES: Final = 16
_SCRIPT: Final = "#!/bin/sh\nexit 0\n" + "#" * 65_536
"""Large enough to fail on a full disk."""


class AttemptDirectory:
    """Holds `workspace`, and beside it what steps must not touch. Its methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workspace = path / "workspace"
        self.private = path / f"private-{token_hex(8)}"
        """Exists only while a step with private files runs; earlier steps cannot guess its name."""

    def make(self) -> None:
        """Make the directories; only this user can enter them."""
        self.path.mkdir(mode=_MODE)
        self.workspace.mkdir(mode=_MODE)

    def make_private(self, files: Mapping[str, str], folders: Collection[str]) -> None:
        """Make the private files and folders of the next step."""
        self.private.mkdir(mode=_MODE)
        for name in folders:
            (self.private / name).mkdir(mode=_MODE)
        for name, content in files.items():
            _write_private(self.private / name, content)

    def clear_private(self) -> None:
        """Remove the private files and folders, and what the step put there."""
        with contextlib.suppress(FileNotFoundError):
            remove_tree(str(self.private))


def read_outputs_file(path: str) -> bytes:
    """The beginning of a step's file for outputs; empty when the step replaced it by something that is not a file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, OUTPUTS_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def volume_of(path: Path) -> Volume:
    """The state of the file system that this directory is on; healthy when the directory is gone."""
    try:
        state = os.statvfs(path)
    except OSError:
        return HEALTHY
    no_blocks = state.f_bavail * state.f_frsize < _MIN_FREE_BYTES
    no_inodes = state.f_files > 0 and state.f_favail < _MIN_FREE_INODES
    return Volume(
        full=no_blocks or no_inodes,
        read_only=bool(state.f_flag & os.ST_RDONLY),
        no_exec=bool(state.f_flag & os.ST_NOEXEC),
    )


async def check_workspace_root(root: Path) -> None:
    """Make a program below `root`, run it and remove it. InfrastructureError: steps cannot run there."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".projectsetup-check-", dir=root))
    except OSError as error:
        raise _unusable(f"cannot create a directory there: {error.strerror}") from error
    try:
        await _try_program(folder)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    if volume_of(root).full:
        raise _unusable("the disk is full")


async def _try_program(folder: Path) -> None:
    program = folder / "program"
    try:
        program.write_text(_SCRIPT)
        program.chmod(0o700)
    except OSError as error:
        raise _unusable(f"cannot write a file there: {error.strerror}") from error
    try:
        process = await asyncio.create_subprocess_exec(program, stdin=asyncio.subprocess.DEVNULL, env={})
        exit_code = await process.wait()
    except OSError as error:
        raise _unusable(f"cannot run a program there: {error.strerror} (is it mounted noexec?)") from error
    if exit_code != 0:
        raise _unusable(f"a test program there exited with code {exit_code}")


def _unusable(why: str) -> InfrastructureError:
    return InfrastructureError(Reason.ENGINE_ERROR, why)


def _write_private(path: Path, content: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(content)

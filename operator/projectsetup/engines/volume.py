"""The file system that workspaces are on: its state, and whether it is fit for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from projectsetup.api.reasons import Reason
from projectsetup.setup.types import HEALTHY, InfrastructureError, Volume

_NEARLY_NOTHING: Final = 1 << 20
_FEWEST_INODES: Final = 16
_SCRIPT: Final = "#!/bin/sh\nexit 0\n" + "#" * 65_536
"""More than an empty file takes, so that a full disk shows."""


def volume_of(path: Path) -> Volume:
    """The state of the file system that this directory is on; nothing special when the directory is gone."""
    try:
        state = os.statvfs(path)
    except OSError:
        return HEALTHY
    no_blocks = state.f_bavail * state.f_frsize < _NEARLY_NOTHING
    no_inodes = state.f_files > 0 and state.f_favail < _FEWEST_INODES
    return Volume(
        full=no_blocks or no_inodes,
        read_only=bool(state.f_flag & os.ST_RDONLY),
        no_exec=bool(state.f_flag & os.ST_NOEXEC),
    )


async def check_volume(root: Path) -> None:
    """Make a program in `root`, run it and remove it. InfrastructureError: workspaces there would be of no use."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".projectsetup-check-", dir=root))
    except OSError as error:
        raise _unfit(f"no directory can be made there: {error.strerror}") from error
    try:
        await _try(folder)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    if volume_of(root).full:
        raise _unfit("the disk is full")


async def _try(folder: Path) -> None:
    program = folder / "program"
    try:
        program.write_text(_SCRIPT)
        program.chmod(0o700)
    except OSError as error:
        raise _unfit(f"no file can be written there: {error.strerror}") from error
    try:
        process = await asyncio.create_subprocess_exec(program, stdin=asyncio.subprocess.DEVNULL, env={})
        exit_code = await process.wait()
    except OSError as error:
        raise _unfit(f"no program can be run there: {error.strerror} (is it mounted noexec?)") from error
    if exit_code != 0:
        raise _unfit(f"a program that was run there ended with {exit_code}")


def _unfit(why: str) -> InfrastructureError:
    return InfrastructureError(Reason.ENGINE_ERROR, why)

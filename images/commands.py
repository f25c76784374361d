"""Running the programs that build images: long ones with progress lines and a log."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from devcluster.command_line import failure_reason, report_until_done

ISOLATED: Final = (
    "setpriv",
    "--pdeathsig=KILL",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
"""A command prefix: the processes and mounts of the command end with this process, even if it is killed."""
_LOG_TAIL: Final = 400


class ImagesError(Exception):
    """The images cannot be built."""


def run(
    command: Sequence[str],
    what: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    wait_if_interrupted: bool = False,
) -> None:
    """Run a program with progress lines about `what`. Raises ImagesError with the end of `log`, which is then kept.

    On interruption the program is killed, unless `wait_if_interrupted` is set.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        try:
            report_until_done(process, what, prefix="images")
        except BaseException:
            if not wait_if_interrupted:
                process.kill()
            process.wait()
            raise
    if process.returncode != 0:
        raise ImagesError(f"{what} failed (log: {log}): {failure_reason(process.returncode, log)}")
    log.unlink()


def output_of(*command: str, limit: float = 60.0) -> str:
    """The output of a short command. Raises ImagesError with its error output if it fails."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImagesError(f"{name}: {error}") from error
    if done.returncode != 0:
        raise ImagesError(f"{name}: {' '.join(done.stderr.split())[-_LOG_TAIL:]}")
    return done.stdout

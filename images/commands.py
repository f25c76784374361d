"""Running the programs that build images: a long one with its progress told, its output in a log."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from devcluster.progress import tell_until_done, why_failed
from images.errors import ImagesError

ALONE: Final = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Before a command: its processes and its mounts end with this process, even when that is killed."""

_LAST_WORDS: Final = 400


def run(
    command: Sequence[str],
    what: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    to_its_end: bool = False,
) -> None:
    """Run a program, telling `what`. Raises ImagesError with the end of `log`, which is kept then.

    When this is interrupted the program is killed, or waited for if it has to come to its end.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        try:
            tell_until_done(process, what, teller="images")
        except BaseException:
            if not to_its_end:
                process.kill()
            process.wait()
            raise
    if process.returncode != 0:
        raise ImagesError(f"{what} failed, its log is {log}: {why_failed(process.returncode, log)}")
    log.unlink()


def ask(*command: str, limit: float = 60.0) -> str:
    """What a short command prints. Raises ImagesError with what it says when it fails."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImagesError(f"{name}: {error}") from error
    if done.returncode != 0:
        raise ImagesError(f"{name}: {' '.join(done.stderr.split())[-_LAST_WORDS:]}")
    return done.stdout

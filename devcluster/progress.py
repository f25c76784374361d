"""Progress of a program that takes long: one line that changes on a terminal, else a line from time to time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

TELL_EVERY: Final = 15.0
_LAST_WORDS: Final = 400
_SHELL_ADDS: Final = 128


def tell_until_done(process: subprocess.Popen[bytes], what: str, *, teller: str = "devcluster") -> None:
    """Wait for the end of `process`; tells `what` and the seconds gone by on standard output, as `teller`."""
    began = time.monotonic()
    live = sys.stdout.isatty()
    before, after = ("\r", "") if live else ("", "\n")
    while True:
        print(f"{before}{teller}: {what}: {_seconds(began)}", end=after, flush=True)
        try:
            process.wait(timeout=1.0 if live else TELL_EVERY)
        except subprocess.TimeoutExpired:
            continue
        ended = "done" if process.returncode == 0 else "failed"
        print(f"{before}{teller}: {what}: {ended} after {_seconds(began)}", flush=True)
        return


def why_failed(exit_code: int, log: Path) -> str:
    """Why a program failed, in one line: the signal that killed it, or its exit code, and the end of its log."""
    number = -exit_code if exit_code < 0 else exit_code - _SHELL_ADDS  # a shell hands on what killed its command
    known = number in {known.value for known in signal.Signals}
    how = f"killed by {signal.Signals(number).name}" if known else f"exit code {exit_code}"
    printed = " ".join(log.read_text(errors="replace").split())[-_LAST_WORDS:]
    return f"{how}: {printed}" if printed else f"{how}, it printed nothing"


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"

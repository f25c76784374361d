"""Telling how long something takes: one line that changes on a terminal, else a line from time to time."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

TELL_EVERY: Final = 15.0


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


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"

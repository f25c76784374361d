"""Conventions of the development commands: usage errors, exit codes and progress lines."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

BAD_USAGE: Final = 2
FAILED: Final = 3
INTERRUPTED: Final = 128
"""Plus the number of the signal."""
REPORT_EVERY: Final = 15.0
_LOG_TAIL: Final = 400
_SHELL_ADDS: Final = 128


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line; `prog` is `python -m NAME`."""

    def error(self, message: str) -> NoReturn:
        """Print the error as one line and exit."""
        name = self.prog.removeprefix("python -m ").partition(" ")[0]
        self.exit(BAD_USAGE, f"{name}: {message} (see {self.prog} --help)\n")


def interrupt(number: int, _: object) -> NoReturn:
    """Signal handler that ends the command with an orderly exit."""
    raise SystemExit(INTERRUPTED + number)


def report_until_done(process: subprocess.Popen[bytes], what: str, *, prefix: str = "devcluster") -> None:
    """Wait for `process` and print `prefix`, `what` and the elapsed seconds, on a terminal in one updated line."""
    began = time.monotonic()
    live = sys.stdout.isatty()
    before, after = ("\r", "") if live else ("", "\n")
    while True:
        print(f"{before}{prefix}: {what}: {_seconds(began)}", end=after, flush=True)
        try:
            process.wait(timeout=1.0 if live else REPORT_EVERY)
        except subprocess.TimeoutExpired:
            continue
        ended = "done" if process.returncode == 0 else "failed"
        print(f"{before}{prefix}: {what}: {ended} after {_seconds(began)}", flush=True)
        return


def failure_reason(exit_code: int, log: Path) -> str:
    """One line about a failed program: its signal or exit code, and the end of its log."""
    number = -exit_code if exit_code < 0 else exit_code - _SHELL_ADDS  # a shell adds 128 to the signal of its command
    known = number in {known.value for known in signal.Signals}
    how = f"killed by {signal.Signals(number).name}" if known else f"exit code {exit_code}"
    printed = " ".join(log.read_text(errors="replace").split())[-_LOG_TAIL:]
    return f"{how}: {printed}" if printed else f"{how}, no output"


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"

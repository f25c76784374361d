"""What commands of this repository for people who build have in common: one line for bad usage, and exit codes."""

from __future__ import annotations

import argparse
from typing import Final, NoReturn

BAD_USAGE: Final = 2
FAILED: Final = 3
INTERRUPTED: Final = 128
"""And the number of the signal."""


class Parser(argparse.ArgumentParser):
    """Its `prog` is `python -m NAME`."""

    def error(self, message: str) -> NoReturn:
        """Say it in one line, and end."""
        name = self.prog.removeprefix("python -m ").partition(" ")[0]
        self.exit(BAD_USAGE, f"{name}: {message} (see {self.prog} --help)\n")


def interrupt(number: int, _: object) -> NoReturn:
    """The handler of a signal that ends the command in order."""
    raise SystemExit(INTERRUPTED + number)

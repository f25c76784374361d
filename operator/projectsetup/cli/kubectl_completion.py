"""`kubectl_complete-projectsetup`, which kubectl runs when Tab is pressed after `kubectl projectsetup`.

Its arguments are the words typed so far, the last one, maybe empty, the one to complete. It prints a choice a line, its
description behind a tab, and in the last line a number that tells the shell what to do besides.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from contextlib import redirect_stdout, suppress
from typing import Final, NoReturn

NO_FILES: Final = ":4"
"""There are choices: file names are none of them (cobra's ShellCompDirectiveNoFileComp)."""
FILES: Final = ":0"


def main() -> NoReturn:
    """Print the choices, and end with 0 whatever happens."""
    with suppress(KeyboardInterrupt):
        choices = complete(sys.argv[1:])
        sys.stdout.write("".join(f"{line}\n" for line in (*choices, NO_FILES if choices else FILES)))
    sys.exit(0)


def complete(words: list[str]) -> list[str]:
    """The choices for the last word, asked for as the fish shell asks: one a line, its description behind a tab."""
    from projectsetup.cli.app import run

    *typed, last = words or [""]
    line = shlex.join(["projectsetup", *typed]) + " " + (shlex.quote(last) if last else "")
    os.environ |= {
        "_PROJECTSETUP_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": line,
    }
    with redirect_stdout(io.StringIO()) as printed, suppress(SystemExit):
        run([], called_as="projectsetup")
    return [choice for choice in printed.getvalue().splitlines() if choice]

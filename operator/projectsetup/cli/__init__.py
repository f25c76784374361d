"""The command line: `projectsetup`, also installed as `kubectl-projectsetup`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn


def main() -> NoReturn:
    """Run the command this process was called with, and exit with its exit code (see `errors.ExitCode`)."""
    try:
        if "DATABASE_URL" in os.environ:
            from projectsetup.engines.local.supervisor.kernel import refuse_inspection

            refuse_inspection()
        from projectsetup.cli.app import run

        code = run(sys.argv[1:], called_as=sys.argv[0])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def complete_for_kubectl() -> NoReturn:
    """`kubectl_complete-projectsetup`, which kubectl runs when Tab is pressed after `kubectl projectsetup`.

    Its arguments are the words typed so far; it completes the last one, which may be empty. It prints one choice per
    line with its description behind a tab, then a number that tells the shell what else to do, and always exits with 0.
    """
    with suppress(KeyboardInterrupt):
        from projectsetup.cli.app import run
        from projectsetup.cli.completion import FILES, NO_FILES, complete

        choices = complete(sys.argv[1:], run)
        sys.stdout.write("".join(f"{line}\n" for line in (*choices, NO_FILES if choices else FILES)))
    sys.exit(0)

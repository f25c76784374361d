"""The command line: `projectsetup`, also installed as `kubectl-projectsetup`."""

from __future__ import annotations

import os
import sys
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

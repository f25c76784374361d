"""Build a release of the checked-out commit into dist/."""

from __future__ import annotations

import sys
from pathlib import Path

from devcluster.command_line import FAILED, Parser
from devcluster.errors import DevclusterError
from images import ImagesError
from projectsetup.version import version
from release.artifacts import ReleaseError, build_release

ROOT = Path(__file__).parents[1]
_MEGABYTE = 1_000_000


def main(arguments: list[str] | None = None) -> int:
    """Build the release and list its files; the exit code: 0 done, 2 bad usage, 3 failed."""
    Parser(prog="python -m release", description=__doc__).parse_args(arguments)
    try:
        files = build_release(ROOT, version())
    except (ReleaseError, ImagesError, DevclusterError, OSError) as error:
        print(f"release: {' '.join(str(error).split())}", file=sys.stderr)
        return FAILED
    for file in files:
        print(f"release: {file.relative_to(ROOT)} ({file.stat().st_size / _MEGABYTE:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

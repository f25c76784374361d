"""Build the images of the operator and the toolchain on this machine."""

from __future__ import annotations

import signal
import sys
from typing import Final

from devcluster.command_line import FAILED, INTERRUPTED, Parser, interrupt
from images.building import IMAGES, build
from images.commands import ImagesError

_MEGABYTE: Final = 1_000_000


def main(arguments: list[str] | None = None) -> int:
    """Run one command; exit codes: 0 done, 2 bad usage, 3 failed, 128 + n after signal n."""
    parser = Parser(prog="python -m images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    names = commands.add_parser("build", help="build the images that are missing and print their paths")
    names.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(IMAGES)}")
    chosen = parser.parse_args(arguments).names or IMAGES
    if unknown := sorted({*chosen} - {*IMAGES}):
        parser.error(f"unknown image {unknown[0]!r}")
    signal.signal(signal.SIGTERM, interrupt)
    try:
        for name, path in build(chosen).items():
            print(f"images: {name}: {path} ({path.stat().st_size / _MEGABYTE:.0f} MB)")
    except (ImagesError, OSError) as error:
        print(f"images: {' '.join(str(error).split())}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())

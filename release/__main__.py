"""Build a release of the checked-out commit into dist/, or pin an image in it after the image was pushed."""

from __future__ import annotations

import sys
from pathlib import Path

from devcluster.command_line import FAILED, Parser
from devcluster.errors import DevclusterError
from images import ImagesError
from projectsetup.version import version
from release.artifacts import ReleaseError, build_release, pin_image

ROOT = Path(__file__).parents[1]
_MEGABYTE = 1_000_000


def main(arguments: list[str] | None = None) -> int:
    """Build the release, or pin an image; list the files. The exit code: 0 done, 2 bad usage, 3 failed."""
    parser = Parser(prog="python -m release", description=__doc__)
    parser.add_argument("--pin", metavar="REPOSITORY@sha256:DIGEST", help="a pushed image, for the manifests in dist/")
    image = parser.parse_args(arguments).pin
    try:
        files = build_release(ROOT, version()) if image is None else pin_image(ROOT / "dist", version(), image)
    except (ReleaseError, ImagesError, DevclusterError, OSError) as error:
        print(f"release: {' '.join(str(error).split())}", file=sys.stderr)
        return FAILED
    for file in files:
        print(f"release: {file.relative_to(ROOT)} ({file.stat().st_size / _MEGABYTE:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

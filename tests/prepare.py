"""Builds, once and with progress, what the tests on a real node need; says what of it this machine cannot have."""

from __future__ import annotations

import sys

from devcluster import DevclusterError
from devcluster.build import build as build_programs
from devcluster.node.machine import node_obstacle
from images import ImagesError, images_obstacle
from images import build as build_images


def main() -> int:
    """0, or 1 where something can be had and could not be built."""
    try:
        if obstacle := node_obstacle():
            print(f"the tests on a real node will be skipped: {obstacle}")
        build_programs(node=obstacle is None)
        if obstacle := images_obstacle():
            print(f"the tests of the images will be skipped: {obstacle}")
        else:
            build_images()
    except (DevclusterError, ImagesError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

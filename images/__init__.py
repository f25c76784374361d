"""The images, built on this machine without a Docker engine and without an image registry."""

from __future__ import annotations

from images.build import build, find_images, images_obstacle
from images.errors import ImagesError

__all__ = ["ImagesError", "build", "find_images", "images_obstacle"]

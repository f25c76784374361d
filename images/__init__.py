"""Builds the container images on this machine, without a Docker engine or a registry."""

from __future__ import annotations

from images.building import (
    IMAGES,
    OPERATOR,
    TOOLCHAIN,
    TOOLCHAIN_GO,
    TOOLCHAIN_NODE,
    TOOLCHAIN_OFFLINE,
    build,
    find_images,
    images_obstacle,
)
from images.commands import ImagesError

__all__ = [
    "IMAGES",
    "OPERATOR",
    "TOOLCHAIN",
    "TOOLCHAIN_GO",
    "TOOLCHAIN_NODE",
    "TOOLCHAIN_OFFLINE",
    "ImagesError",
    "build",
    "find_images",
    "images_obstacle",
]

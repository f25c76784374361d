"""What a build is lent of this machine: its way to Debian's packages and to the package index. It keeps none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from images import debian, package_index

SOURCES: Final = "/etc/apt/sources.list"
OPTIONS: Final = "/etc/apt/apt.conf"
"""Files of the base image, empty there, that this machine's own cover during a build."""


def lent(folder: Path, release: str) -> list[str]:
    """Arguments for `buildah build`; the files that they name are written to `folder`, which is to be private."""
    settings = package_index.pip_settings()
    trusted = package_index.certificates(settings)
    contents = {
        "sources.list": debian.sources(release),
        "apt.conf": debian.options(),
        "pip.conf": package_index.configuration(settings, certificates=trusted is not None),
        "ca.pem": trusted.read_text() if trusted else "",
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [
        f"--volume={folder / 'sources.list'}:{SOURCES}:ro",
        f"--volume={folder / 'apt.conf'}:{OPTIONS}:ro",
        f"--secret=id=pip,src={folder / 'pip.conf'}",
        f"--secret=id=ca,src={folder / 'ca.pem'}",
    ]

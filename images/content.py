"""What the images are made of, and the key that this content has."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.errors import ImagesError

_IGNORE: Final = Path(".dockerignore")
_DOCKERFILE: Final = Path("Dockerfile")
_OFFLINE_DOCKERFILE: Final = Path("images/toolchain-offline.Dockerfile")
_LOCK: Final = Path("requirements-runtime.lock")
_VERSION: Final = Path("operator/projectsetup/version.py")
_BASE: Final = Path("images/base.py")
_HOW: Final = (
    _IGNORE,
    _DOCKERFILE,
    _OFFLINE_DOCKERFILE,
    _BASE,
    Path("images/building.py"),
    Path("images/buildah.py"),
    Path("images/sbom.py"),
)
_MADE_BY_PYTHON: Final = "__pycache__"


@dataclass(frozen=True, slots=True)
class Content:
    """The files below `root` that decide what the images are."""

    root: Path

    @property
    def dockerfile(self) -> Path:
        """Of the operator and the toolchain."""
        return self.root / _DOCKERFILE

    @property
    def offline_dockerfile(self) -> Path:
        """Of the toolchain for nodes that reach no package index."""
        return self.root / _OFFLINE_DOCKERFILE

    @property
    def lock(self) -> Path:
        """The Python packages of the images, with their versions."""
        return self.root / _LOCK

    def release(self) -> str:
        """The Debian release that the Dockerfile begins with unless it is told otherwise. Raises ImagesError."""
        found = re.search(r"^ARG BASE=debian:([a-z]+)-slim$", self.dockerfile.read_text(), re.MULTILINE)
        if not found:
            raise ImagesError("the Dockerfile does not begin with `ARG BASE=debian:RELEASE-slim`")
        return found[1]

    def version(self) -> str:
        """The version of the operator. Raises ImagesError."""
        found = re.search(r'^VERSION = "([^"]+)"$', (self.root / _VERSION).read_text(), re.MULTILINE)
        if not found:
            raise ImagesError(f"{_VERSION} does not define VERSION")
        return found[1]

    def base_key(self) -> str:
        """Another one whenever another base image would be made."""
        return _hash([self.release().encode(), (self.root / _BASE).read_bytes()])

    def key(self) -> str:
        """Another one whenever one of the images would be another one."""
        return _hash(self._told(path) for path in self._files())

    def copy(self, target: Path) -> Content:
        """These files in a new folder, where nobody changes them."""
        for path in self._files():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.root / path, target / path)
        return Content(target)

    def _files(self) -> Iterator[Path]:
        """How the images are made, and what .dockerignore lets in, in an order that depends on names alone."""
        yield from _HOW
        lines = (self.root / _IGNORE).read_text().splitlines()
        for path in sorted(self.root / line[1:] for line in lines if line.startswith("!")):
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and _MADE_BY_PYTHON not in file.parts:
                    yield file.relative_to(self.root)

    def _told(self, path: Path) -> bytes:
        file = self.root / path
        executable = file.stat().st_mode & 0o111 != 0
        return b"%s %d %s" % (str(path).encode(), executable, hashlib.sha256(file.read_bytes()).digest())


def _hash(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]

"""The sources of the images, and keys that identify them."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.commands import ImagesError

_IGNORE: Final = Path(".dockerignore")
_DOCKERFILE: Final = Path("Dockerfile")
_OFFLINE_DOCKERFILE: Final = Path("images/toolchain-offline.Dockerfile")
_LOCK: Final = Path("requirements-runtime.lock")
_VERSION: Final = Path("operator/projectsetup/version.py")
_BASE: Final = Path("images/base.py")
_INSTRUCTIONS: Final = (
    _IGNORE,
    _DOCKERFILE,
    _OFFLINE_DOCKERFILE,
    _BASE,
    Path("images/building.py"),
    Path("images/buildah.py"),
    Path("images/sbom.py"),
)
_BYTECODE_FOLDER: Final = "__pycache__"


@dataclass(frozen=True, slots=True)
class Content:
    """The files below `root` that determine the images."""

    root: Path

    @property
    def dockerfile(self) -> Path:
        """The Dockerfile of the operator and the toolchain."""
        return self.root / _DOCKERFILE

    @property
    def offline_dockerfile(self) -> Path:
        """The Dockerfile of the offline toolchain."""
        return self.root / _OFFLINE_DOCKERFILE

    @property
    def lock(self) -> Path:
        """The lock file of the Python packages."""
        return self.root / _LOCK

    def release(self) -> str:
        """The Debian release of the default base image. Raises ImagesError."""
        found = re.search(r"^ARG BASE=debian:([a-z]+)-slim$", self.dockerfile.read_text(), re.MULTILINE)
        if not found:
            raise ImagesError("the Dockerfile does not contain `ARG BASE=debian:RELEASE-slim`")
        return found[1]

    def version(self) -> str:
        """The version of the operator. Raises ImagesError."""
        found = re.search(r'^VERSION = "([^"]+)"$', (self.root / _VERSION).read_text(), re.MULTILINE)
        if not found:
            raise ImagesError(f"{_VERSION} does not define VERSION")
        return found[1]

    def base_key(self) -> str:
        """Changes with everything that affects the base image."""
        return _hash([self.release().encode(), (self.root / _BASE).read_bytes()])

    def key(self) -> str:
        """Changes with everything that affects an image."""
        return _hash(self._fingerprint(path) for path in self._files())

    def copy(self, target: Path) -> Content:
        """A copy of these files in `target`, which is created."""
        for path in self._files():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.root / path, target / path)
        return Content(target)

    def _files(self) -> Iterator[Path]:
        """The build instructions, and what .dockerignore admits, ordered by name."""
        yield from _INSTRUCTIONS
        lines = (self.root / _IGNORE).read_text().splitlines()
        for path in sorted(self.root / line[1:] for line in lines if line.startswith("!")):
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and _BYTECODE_FOLDER not in file.parts:
                    yield file.relative_to(self.root)

    def _fingerprint(self, path: Path) -> bytes:
        file = self.root / path
        executable = file.stat().st_mode & 0o111 != 0
        return b"%s %d %s" % (str(path).encode(), executable, hashlib.sha256(file.read_bytes()).digest())


def _hash(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]

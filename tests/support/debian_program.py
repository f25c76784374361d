"""Programs from Debian packages that are unpacked without being installed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from devcluster import DevclusterError
from devcluster.debian import TOOLS_TO_UNPACK, unpack
from devcluster.files import build_lock, user_cache


@dataclass(frozen=True, slots=True)
class DebianProgram:
    """`path`: the program in its package; `libraries`: a pattern of the packages that it depends on."""

    package: str
    path: str
    libraries: str

    def obstacle(self) -> str | None:
        """Why the program cannot be fetched here; None if it can."""
        missing = [tool for tool in TOOLS_TO_UNPACK if shutil.which(tool) is None]
        if missing and not self._kept.exists():
            return f"missing tools to fetch {self.package}: {', '.join(missing)}"
        return None

    def fetch(self) -> Path:
        """The path of the program; its package is downloaded once. Raises DevclusterError."""
        if (why := self.obstacle()) is not None:
            raise DevclusterError(why)
        with build_lock(_cache(), prefix="tests"):
            if not self._kept.exists():
                with TemporaryDirectory(dir=_cache()) as folder:
                    log = _cache() / f"{self.package}.log"
                    root = unpack(self.package, Path(folder), log, libraries=self.libraries, prefix="tests")
                    root.rename(self._kept)
        return self._kept / self.path

    def environment(self) -> dict[str, str]:
        """The variables with which the program finds its libraries."""
        return {"LD_LIBRARY_PATH": ":".join(str(folder) for folder in (self._kept / "usr" / "lib").iterdir())}

    @property
    def _kept(self) -> Path:
        return _cache() / self.package


def _cache() -> Path:
    return user_cache("projectsetup-tests")

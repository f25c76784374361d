"""The package caches of steps: one per namespace, since writing to a cache changes what its other users install."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDERS: Final = {
    "GOCACHE": "go-build",
    "GOMODCACHE": "go-mod",
    "PIP_CACHE_DIR": "pip",
    "UV_CACHE_DIR": "uv",
    "npm_config_cache": "npm",
}
"""The variable of each tool, and its folder inside a namespace's cache."""
_ONLY_WHERE_SET: Final = ("CARGO_HOME",)


@dataclass(frozen=True, slots=True)
class PackageCaches:
    """The caches of one namespace, each under the variable that its tool reads.

    `roots` are the directories that hold these and the caches of other namespaces.
    """

    roots: frozenset[Path]
    own: Mapping[str, Path]

    def make(self) -> None:
        """Make the missing directories. Raises OSError."""
        for path in self.own.values():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the tools."""
        return {variable: str(path) for variable, path in self.own.items()}


NO_CACHES: Final = PackageCaches(frozenset(), {})


def package_caches(operator: Mapping[str, str], namespace: str) -> PackageCaches:
    """The caches for steps of this namespace, derived from the operator's environment.

    A cache variable set there names the directory that holds one cache per namespace. The caches of the other tools
    are below `projectsetup` in the cache folder of the operator's user; there are none when that is not writable.
    """
    variables = (*_FOLDERS, *_ONLY_WHERE_SET)
    roots = {variable: Path(operator[variable]).resolve() for variable in variables if operator.get(variable)}
    own = {variable: root / namespace for variable, root in roots.items()}
    common = _user_cache(operator)
    if common is not None:
        root = (common / "projectsetup").resolve()
        unset = _FOLDERS.keys() - roots.keys()
        roots |= dict.fromkeys(unset, root)
        own |= {variable: root / namespace / _FOLDERS[variable] for variable in unset}
    return PackageCaches(frozenset(roots.values()), own)


def _user_cache(operator: Mapping[str, str]) -> Path | None:
    home = operator.get("HOME")
    configured = operator.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else None)
    if not configured or not configured.startswith("/"):
        return None
    nearest = next(folder for folder in (Path(configured), *Path(configured).parents) if os.access(folder, os.F_OK))
    return Path(configured) if os.access(nearest, os.W_OK | os.X_OK) else None

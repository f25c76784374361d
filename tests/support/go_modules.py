"""Programs and files from Go modules: Argo CD, Flux, and the program `kstatus`, each built or copied once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from devcluster import DevclusterError
from devcluster.build import Module, build_program, cache_folder, find_go, programs_folder
from devcluster.files import build_lock

HERE: Final = Path(__file__).parents[1]
_FLAGS: Final = ("-mod=readonly", "-trimpath", "-ldflags=-s -w")
KSTATUS: Final = Module(HERE / "kstatus", {"kstatus": "."}, _FLAGS)
ARGOCD: Final = Module(HERE / "argocd", {"argocd": "github.com/argoproj/argo-cd/v3/cmd"}, _FLAGS)
"""All components in one program. 3.2.11 is the newest version that builds with Go 1.26 from published modules."""
FLUX: Final = Module(
    HERE / "flux",
    {name: f"github.com/fluxcd/{name}" for name in ("kustomize-controller", "source-controller")},
    _FLAGS,
)
_LIMIT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Shipped:
    """A folder in the release of `source`, a Go module that `module` requires."""

    module: Module
    source: str
    path: str

    @property
    def copy(self) -> Path:
        """The path of the cached copy."""
        return programs_folder(self.module) / f"{self.source}/{self.path}".replace("/", "_")


ARGOCD_CRDS: Final = Shipped(ARGOCD, "github.com/argoproj/argo-cd/v3", "manifests/crds")
ARGOCD_CONFIG: Final = Shipped(ARGOCD, "github.com/argoproj/argo-cd/v3", "manifests/base/config")
FLUX_CRDS: Final = tuple(Shipped(FLUX, f"github.com/fluxcd/{name}", "config/crd/bases") for name in FLUX.programs)


def kstatus(objects: list[Mapping[str, object]]) -> list[dict[str, str]]:
    """The status and message of each object by kstatus. Raises DevclusterError if the program cannot be built."""
    program = build_program("kstatus", KSTATUS)
    done = subprocess.run([program], input=json.dumps(objects), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, str]] = json.loads(done.stdout)
    return results


def fetch(shipped: Shipped) -> Path:
    """The path of the folder; its module is downloaded unless it was before. Raises DevclusterError."""
    if not shipped.copy.exists():
        with build_lock(shipped.copy.parent, prefix="tests"):
            if not shipped.copy.exists():
                _copy(shipped)
    return shipped.copy


def require(module: Module, *shipped: Shipped, programs: Iterable[str] | None = None) -> None:
    """Skip the test, with the reason, where these programs cannot be built or these folders cannot be fetched."""
    names = list(module.programs if programs is None else programs)
    try:
        for name in names:
            build_program(name, module)
        for one in shipped:
            fetch(one)
    except (DevclusterError, OSError) as error:
        pytest.skip(f"{', '.join(names)} cannot be built: {error}")


def _copy(shipped: Shipped) -> None:
    folder = shipped.module.folder
    command = [str(find_go(cache_folder(), folder / "go.mod")), "mod", "download", "-json", shipped.source]
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    environment.setdefault("HOME", str(Path.home()))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_LIMIT, env=environment, cwd=folder
        )
    except subprocess.TimeoutExpired as exc:
        raise DevclusterError(f"downloading {shipped.source} timed out after {_LIMIT:.0f} s") from exc
    download = json.loads(done.stdout or "{}")
    if "Dir" not in download:
        why = " ".join((download.get("Error") or done.stderr).split())
        raise DevclusterError(f"downloading {shipped.source} failed: {why[:300]}")
    unfinished = shipped.copy.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(Path(download["Dir"]) / shipped.path, unfinished, copy_function=shutil.copyfile)
    unfinished.chmod(0o755)  # modules are read-only
    unfinished.replace(shipped.copy)

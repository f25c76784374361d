"""The controllers of kube-controller-manager that delete what belongs to deleted objects and namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devcluster.build import NODE, build_program
from devcluster.processes import Program
from tests.support.go_modules import require

_PROGRAM: Final = "kube-controller-manager"
_LIMIT: Final = 60.0


@contextmanager
def garbage_collector(folder: Path, kubeconfig: Path) -> Iterator[None]:
    """Run them until the end of the block. Skips the test where they cannot be built."""
    (module,) = (module for module in NODE if _PROGRAM in module.programs)
    require(module, programs=[_PROGRAM])
    program = Program(folder, _PROGRAM)
    command = [str(build_program(_PROGRAM, module)), f"--kubeconfig={kubeconfig}", "--leader-elect=false"]
    controllers = "garbage-collector-controller,namespace-controller"
    program.spawn([*command, f"--controllers={controllers}", "--secure-port=0", "--v=1"])
    try:
        program.await_ready(lambda: "Proceeding to collect garbage" in program.log.read_text(), limit=_LIMIT)
        yield
    finally:
        program.kill()

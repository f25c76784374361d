"""A fault run: operators in their own namespace and database, setups of every behavior, and all that is observed."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from devcluster import Cluster
from devcluster.state import State
from tests.support.chaos.audit_log import AuditLog
from tests.support.chaos.process_watcher import AttemptProcess, ProcessWatcher
from tests.support.chaos.setup_history import Body, SetupHistory
from tests.support.chaos.step_log import StepLog
from tests.support.operator_process import OperatorProcess, wait_for
from tests.support.operator_sandbox import ENDED, Sandbox
from tests.support.setup_handle import Setup

IS_LONG: Final = os.environ.get("CHAOS") == "long"
"""Whether `make chaos` runs the long form; every full test run has the short one."""
SEED: Final = 20_261_124
"""Seeds all random choices, so that each run makes the same ones."""
FAULTY_OPERATOR: Final = (sys.executable, str(Path(__file__).with_name("faulty_operator.py")))
RECIPES: Final = Path(__file__).parents[2] / "chaos" / "recipes"
FAST_RETRIES: Final = {"max-attempts": "20", "backoff": "100ms", "backoff-max": "1s"}
BEHAVIORS: Final = {"quick": 10, "forking": 4, "lingering": 2, "transient": 2, "failing": 2}
"""How the steps of a setup behave, and the weight of each choice."""


@dataclass(slots=True, eq=False)
class FaultSetup(Setup):
    """A setup, and what was requested for it."""

    behavior: str = ""
    cancelled: bool = False
    deleted: bool = False


class FaultRun:
    """Observes while it is entered; leaving it ends its operators."""

    def __init__(
        self, folder: Path, cluster: Cluster, database_url: str, watcher: ProcessWatcher, **settings: str
    ) -> None:
        """`watcher` watches at least `folder`; `settings` are those of the operators."""
        self._settings = {"leader_election": "true", "concurrency": "6", "recipes_dir": str(RECIPES), **settings}
        self._folder = folder
        self._kubeconfig = cluster.kubeconfig
        self.sandbox = Sandbox(folder / "sandbox", kubeconfig=cluster.kubeconfig, database_url=database_url)
        self.step_log = StepLog(folder / "step.log")
        self.setups: dict[str, FaultSetup] = {}
        self.operators: list[OperatorProcess] = []
        self.watcher = watcher
        port = State.read(cluster.directory / "cluster.json").etcd_port
        self.history = SetupHistory(port, self.sandbox.api.namespace)
        self._stack = ExitStack()
        self.audit_log = AuditLog(database_url)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.history)
        self.scans_before = self.watcher.scans
        return self

    def __exit__(self, *_: object) -> None:
        for operator in self.operators:
            operator.close()
        self._stack.close()

    def operator(
        self, *, kubeconfig: Path | None = None, command: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> OperatorProcess:
        """Return another operator of this run, not started yet."""
        name = _name(len(self.operators))
        namespace = self.sandbox.api.namespace
        operator = OperatorProcess(
            self._folder / name,
            kubeconfig=kubeconfig or self._kubeconfig,
            database_url=self.audit_log.url_for(name),
            environment=environment,
            namespaces=namespace,
            operator_namespace=namespace,
            **({"command": command} if command else {}),  # type: ignore[arg-type]
            **self._settings,
        )
        self.operators.append(operator)
        return operator

    def pause(self) -> None:
        """Pause the queue before its operator starts."""
        self.sandbox.api.kubectl("create", "configmap", "projectsetup-queue", "--from-literal=paused=true")

    def resume(self) -> None:
        """Resume the queue."""
        self.sandbox.api.kubectl("delete", "configmap", "projectsetup-queue")

    def submit(self, behavior: str, *, seconds: float = 0.1, annotations: dict[str, str] | None = None) -> FaultSetup:
        """Create a project and its ProjectSetup."""
        parameters = {"log": str(self.step_log.path), "behavior": behavior, "seconds": f"{seconds:.2f}"}
        return self._submit("fault-test", behavior, parameters, annotations)

    def _submit(
        self, recipe: str, behavior: str, parameters: dict[str, str], annotations: dict[str, str] | None
    ) -> FaultSetup:
        setup = FaultSetup.make(
            self.sandbox, recipe, annotations={**FAST_RETRIES, **(annotations or {})}, parameters=parameters
        )
        setup.behavior = behavior
        self.setups[setup.name] = setup
        return setup

    def submit_mixed(self, count: int, rng: random.Random) -> list[FaultSetup]:
        """Submit setups of random behaviors, durations and priorities."""
        behaviors = rng.choices(list(BEHAVIORS), list(BEHAVIORS.values()), k=count)
        return [
            self.submit(behavior, seconds=rng.uniform(0.02, 0.4), annotations={"priority": str(rng.randint(0, 9))})
            for behavior in behaviors
        ]

    def cancel(self, setup: FaultSetup) -> None:
        """Request its cancellation."""
        setup.cancelled = True
        setup.annotate(cancel_requested_at="now")

    def delete(self, setup: FaultSetup) -> None:
        """Delete its ProjectSetup."""
        setup.deleted = True
        setup.delete()

    def status(self, setup: FaultSetup) -> Body:
        """Return the last `.status` written."""
        versions = self.history.versions.get(setup.name)
        return versions[-1].status if versions else {}

    def await_step_event(self, event: str, *setups: FaultSetup, limit: float = 60.0) -> None:
        """Return once a step of each of these setups has logged the event."""
        wait_for(
            lambda: all(self.step_log.has(setup.name, event) for setup in setups),
            f"all steps to log {event}",
            limit=limit,
        )

    def unfinished(self) -> list[FaultSetup]:
        """Return the setups that have not ended, or are deleted but still exist."""
        return [setup for setup in self.setups.values() if not self._has_ended(setup)]

    def await_ends(self, *, limit: float, meanwhile: Callable[[], object] = lambda: None) -> float:
        """Wait until all setups have ended and the claims of deleted ones are released; return the seconds it took."""
        began = time.monotonic()

        def have_ended() -> bool:
            meanwhile()
            return not self.unfinished() and not self._held_claims()

        try:
            wait_for(have_ended, "all setups to end", limit=limit)
        except AssertionError as error:
            examples = [(setup, self.status(setup)) for setup in self.unfinished()[:3]]
            logs = "\n".join(operator.log_tail() for operator in self.operators)
            raise AssertionError(f"{error}: {len(self.unfinished())} unfinished, such as {examples}\n{logs}") from None
        self.history.catch_up()
        return time.monotonic() - began

    def changes_by(self, operator: OperatorProcess) -> int:
        """Return the number of changes of the record that this operator made."""
        return self.audit_log.changes_by(_name(self.operators.index(operator)))

    def living(self) -> list[AttemptProcess]:
        """Return the live processes of all attempts."""
        return self.watcher.living(self.setups)

    def starts(self) -> dict[str, dict[int, int]]:
        """Return how often each attempt number of each project ran."""
        return self.step_log.starts()

    def await_cleanup(self) -> None:
        """Return once no process and no workspace of any attempt is left."""
        wait_for(lambda: not self.living(), "all processes of attempts to be gone")
        wait_for(lambda: not self.workspaces(), "all workspaces to be removed")

    def workspaces(self) -> list[Path]:
        """Return the workspaces of attempts, and the folders of operators that have ended."""
        found: list[Path] = []
        for operator in self.operators:
            for own in operator.workspaces.iterdir():
                attempts = [entry for entry in _entries(own) if entry.is_dir()]
                found += attempts if operator.alive else [own, *attempts]
        return found

    def _has_ended(self, setup: FaultSetup) -> bool:
        versions = self.history.versions.get(setup.name)
        if not versions:
            return False
        return versions[-1].body is None if setup.deleted else versions[-1].status.get("phase") in ENDED

    def _held_claims(self) -> list[str]:
        deleted = {setup.name for setup in self.setups.values() if setup.deleted}
        return [project for project, row in self.audit_log.rows().items() if project in deleted and row["owner_uid"]]


def _name(number: int) -> str:
    return f"operator-{number}"


def _entries(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return ()


NewFaultRun = Callable[..., FaultRun]
"""Creates a fault run; the arguments are settings of its operators."""


@dataclass(slots=True)
class Restarter:
    """Restarts an operator that exited because it could not renew its Lease, as a kubelet does."""

    operator: OperatorProcess
    restarts: int = 0

    def check(self) -> None:
        """Restart it if it has exited; call this repeatedly."""
        if self.operator.alive:
            return
        assert self.operator.process.returncode == 1, self.operator.log_tail()
        assert "lost the leader lease" in self.operator.log_tail(), self.operator.log_tail()
        self.restarts += 1
        self.operator.start(ready=False)


def await_leadership(operator: OperatorProcess, *, limit: float = 60.0) -> None:
    """Return once this operator is the leader."""
    try:
        wait_for(lambda: operator.leads() or not operator.alive, "the operator to become the leader", limit=limit)
    except AssertionError as error:
        raise AssertionError(f"{error}: {operator.log_tail()}") from None
    assert operator.alive, f"the operator ended: {operator.log_tail()}"

"""A namespace, a database and a step log of their own, setups of every mood in them, and all that is seen of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from devcluster import Cluster
from devcluster.state import State
from tests.support.chaos.audit import Audit
from tests.support.chaos.history import Body, History
from tests.support.chaos.step_log import StepLog
from tests.support.chaos.watcher import Sight, Watcher
from tests.support.operator_process import OperatorProcess, wait_for
from tests.support.operator_sandbox import ENDED, Sandbox

RECIPES: Final = Path(__file__).parents[2] / "chaos" / "recipes"
QUICKLY: Final = {"max-attempts": "20", "backoff": "100ms", "backoff-max": "1s"}
MOODS: Final = {"calm": 10, "family": 4, "stubborn": 2, "transient": 2, "failing": 2}
"""How a step behaves, and how often that is chosen."""


@dataclass(slots=True)
class Setup:
    """A project that is set up in some mood, and what else was asked for it."""

    project: str
    mood: str
    cancelled: bool = False
    deleted: bool = False


class FaultRun:
    """Enter it to begin to watch; leaving it ends its operators."""

    def __init__(self, folder: Path, cluster: Cluster, database_url: str, watcher: Watcher, **settings: str) -> None:
        """`watcher` watches `folder`, and may watch more; `settings` are those of the operators."""
        self._settings = {"leader_election": "true", "concurrency": "6", "recipes_dir": str(RECIPES), **settings}
        self._folder = folder
        self._kubeconfig = cluster.kubeconfig
        self.sandbox = Sandbox(folder / "sandbox", kubeconfig=cluster.kubeconfig, database_url=database_url)
        self.step_log = StepLog(folder / "step_log")
        self.setups: dict[str, Setup] = {}
        self.operators: list[OperatorProcess] = []
        self.watcher = watcher
        port = State.read(cluster.directory / "cluster.json").etcd_port
        self.history = History(port, self.sandbox.api.namespace)
        self._stack = ExitStack()
        self.record = Audit(database_url)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.history)
        self.looks_before = self.watcher.looks
        return self

    def __exit__(self, *_: object) -> None:
        for operator in self.operators:
            operator.close()
        self._stack.close()

    def operator(
        self, *, kubeconfig: Path | None = None, command: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> OperatorProcess:
        """Another operator of this fault run, not started yet."""
        name = _name(len(self.operators))
        namespace = self.sandbox.api.namespace
        operator = OperatorProcess(
            self._folder / name,
            kubeconfig=kubeconfig or self._kubeconfig,
            database_url=self.record.url_for(name),
            environment=environment,
            namespaces=namespace,
            operator_namespace=namespace,
            **({"command": command} if command else {}),  # type: ignore[arg-type]
            **self._settings,
        )
        self.operators.append(operator)
        return operator

    def pause(self) -> None:
        """Pause the queue, before its operator starts."""
        self.sandbox.api.kubectl("create", "configmap", "projectsetup-queue", "--from-literal=paused=true")

    def resume(self) -> None:
        """Let the queue go on."""
        self.sandbox.api.kubectl("delete", "configmap", "projectsetup-queue")

    def submit(self, mood: str, *, seconds: float = 0.1, annotations: dict[str, str] | None = None) -> Setup:
        """A new project, and the ProjectSetup for it."""
        project = self.sandbox.project()
        parameters = {"log": str(self.step_log.path), "mood": mood, "seconds": f"{seconds:.2f}"}
        self.sandbox.apply(project, "tumult", annotations={**QUICKLY, **(annotations or {})}, parameters=parameters)
        self.setups[project] = Setup(project, mood)
        return self.setups[project]

    def submit_mixed(self, count: int, rng: random.Random) -> list[Setup]:
        """Setups of every mood, of different lengths and priorities."""
        moods = rng.choices(list(MOODS), list(MOODS.values()), k=count)
        return [
            self.submit(mood, seconds=rng.uniform(0.02, 0.4), annotations={"priority": str(rng.randint(0, 9))})
            for mood in moods
        ]

    def cancel(self, setup: Setup) -> None:
        """Ask to cancel it."""
        setup.cancelled = True
        self.sandbox.annotate(setup.project, "cancel-requested-at", "now")

    def delete(self, setup: Setup) -> None:
        """Delete its ProjectSetup."""
        setup.deleted = True
        self.sandbox.api.delete(setup.project)

    def status(self, setup: Setup) -> Body:
        """What `.status` told last."""
        versions = self.history.versions.get(setup.project)
        return versions[-1].status if versions else {}

    def open_ends(self) -> list[Setup]:
        """The setups that are not over, or deleted and not yet gone."""
        return [setup for setup in self.setups.values() if not self._is_over(setup)]

    def await_ends(self, *, limit: float, meanwhile: Callable[[], object] = lambda: None) -> float:
        """Return when all setups are over and all claims of deleted ones free; the seconds that it took."""
        began = time.monotonic()

        def all_over() -> bool:
            meanwhile()
            return not self.open_ends() and not self._held_claims()

        try:
            wait_for(all_over, "all setups to be over", limit=limit, poll=0.2)
        except AssertionError as error:
            told = [(setup, self.status(setup)) for setup in self.open_ends()[:3]]
            logs = "\n".join(operator.log_tail() for operator in self.operators)
            raise AssertionError(f"{error}: {len(self.open_ends())} are not, such as {told}\n{logs}") from None
        self.history.caught_up()
        return time.monotonic() - began

    def changes_by(self, operator: OperatorProcess) -> int:
        """How many changes of the record this operator has made."""
        return self.record.changes_by(_name(self.operators.index(operator)))

    def living(self) -> list[Sight]:
        """The processes of all attempts that are alive."""
        return self.watcher.living(self.setups)

    def starts(self) -> dict[str, dict[int, int]]:
        """How often each attempt number of each project was started, as its steps tell."""
        return self.step_log.starts()

    def await_no_remains(self) -> None:
        """Return when no process and no workspace of any attempt is left."""
        wait_for(lambda: not self.living(), "all processes of attempts to be gone")
        wait_for(lambda: not self.workspaces(), "all workspaces to be removed")

    def workspaces(self) -> list[Path]:
        """The folders of attempts in those of all operators, and folders of operators that have ended."""
        found: list[Path] = []
        for operator in self.operators:
            for own in operator.workspaces.iterdir():
                attempts = [entry for entry in _entries(own) if entry.is_dir()]
                found += attempts if operator.alive else [own, *attempts]
        return found

    def _is_over(self, setup: Setup) -> bool:
        versions = self.history.versions.get(setup.project)
        if not versions:
            return False
        return versions[-1].body is None if setup.deleted else versions[-1].status.get("phase") in ENDED

    def _held_claims(self) -> list[str]:
        deleted = {setup.project for setup in self.setups.values() if setup.deleted}
        return [project for project, row in self.record.rows().items() if project in deleted and row["owner_uid"]]


def _name(number: int) -> str:
    return f"operator-{number}"


def _entries(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return ()


NewFaultRun = Callable[..., FaultRun]
"""Makes a fault run with settings of its own for its operators."""


def await_lead(operator: OperatorProcess, *, limit: float = 60.0) -> None:
    """Return when this operator leads."""
    try:
        wait_for(lambda: operator.leads() or not operator.alive, "the operator to lead", limit=limit)
    except AssertionError as error:
        raise AssertionError(f"{error}: {operator.log_tail()}") from None
    assert operator.alive, f"the operator ended: {operator.log_tail()}"


@dataclass(slots=True)
class Restarter:
    """Starts the operator again when it has ended because it could not renew its Lease."""

    operator: OperatorProcess
    restarts: int = 0

    def look(self) -> None:
        """To be called again and again."""
        if self.operator.alive:
            return
        assert self.operator.process.returncode == 1, self.operator.log_tail()
        assert "lost the leader lease" in self.operator.log_tail(), self.operator.log_tail()
        self.restarts += 1
        self.operator.start(ready=False)

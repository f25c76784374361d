"""Setups as Jobs on a real node beside Tekton, Argo and bare Jobs: time, writes, CPU and memory, and after a kill."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import argo_peer, kills, tekton_peer
from benchmarks.controllers import Process, controller_manager, running
from benchmarks.figures import Better, Comparison, Findings, Goal, Peer, at_least, at_most
from benchmarks.figures import Contender as Measured
from benchmarks.kills import Aftermath, Target
from benchmarks.machine import cpu_seconds, tree_memory
from benchmarks.node import Bench, Body, Contender, Scripts, containers, node
from benchmarks.step_calls import StepCalls, step_calls
from devcluster import DevclusterError
from devcluster.images import BUSYBOX
from devcluster.node.prerequisites import node_obstacle

STEPS: Final = kills.STEPS
AT_ONCE: Final = 20
AT_ONCE_QUICK: Final = 3
_SLOW: Final = 2
"""The rounds of a contender that a quick run leaves out."""
TEXT: Final = f"""\
{STEPS} steps that do nothing, one run at a time and {{many}} created at once, from the creation until a watch delivers
the end, on a real node of this machine with all controllers beside it. Tekton 1.15.0: a TaskRun has a container a step,
all in one pod; a PipelineRun has a pod a step. Argo Workflows {argo_peer.VERSION}: a ContainerSet has a container a
step, all in one pod; steps have a pod each; `DEFAULT_REQUEUE_TIME`, until the controller acts on a changed workflow
again, is its default of 10 s. With a pod a step, it is not run many at once, which takes minutes. Argo is built from
its Go module with one addition: the link `signal_linux.go` to `signal_darwin.go`, which zips of Go modules cannot hold.
The bare Job and this operator use one container. The controllers are processes with the settings of their own
manifests, and leader election as they have it by default. Left out, which favours the peers: Tekton's webhook (the
fields that it sets are given) and events controller, and Argo's server and schemas (its minimal CRDs are installed).
Writes are all that the API server accepts for one run, except those of Leases. CPU is that of the contender's
controller and of kube-controller-manager, which acts on Jobs; memory is that of the contender's controller afterwards.
The node is cleared after each round.

Then the steps take {kills.STEP_SECONDS} s and report when they start. During step {kills.KILLED_AT + 1} the controller
is killed with SIGKILL, and started again {kills.DOWN:.0f} s later as by systemd; another run is created meanwhile.
Pods are not killed: what stands still is what the controller does. Fast contenders are interrupted
{kills.ROUNDS} times, slow ones once."""


@dataclass(frozen=True, slots=True)
class Results:
    """One value a round: seconds, writes and milliseconds of CPU of each run, MiB of the controller."""

    took: list[float] = field(default_factory=list)
    wrote: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Side:
    """A contender, its controller, its rounds, and what was measured for one at a time and for many at once."""

    what: str
    contender: Contender
    controller: Process
    rounds: int
    rounds_of_many: int
    one: Results = field(default_factory=Results)
    many: Results = field(default_factory=Results)

    @property
    def name(self) -> str:
        """The name of the contender."""
        return self.contender.name

    @property
    def kills(self) -> int:
        """How often its controller is killed."""
        return kills.ROUNDS if self.rounds_of_many > 1 else 1


@dataclass(frozen=True, slots=True)
class Controllers:
    """All controllers of the node."""

    ours: Process
    manager: Process
    tekton: Process
    argo: Process


def obstacle() -> str | None:
    """Why this cannot run here; None once the peers are built."""
    if found := node_obstacle():
        return found
    try:
        tekton_peer.build()
        argo_peer.build()
    except (DevclusterError, OSError) as error:
        return f"a peer cannot be built: {' '.join(str(error).split())}"
    return None


def measure(*, quick: bool) -> Findings:
    """All contenders in turn; `quick` takes one round of some, with fewer at once."""
    many = AT_ONCE_QUICK if quick else AT_ONCE
    reporting = kills.scripts("$PARAM_URL", "$PROJECT_ID")
    recipes = {
        "nothing": _recipe("nothing", _nothing("")),
        "reporting": _recipe("reporting", reporting, "{url: {description: where steps report}}"),
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        node(recipes, concurrency=AT_ONCE) as bench,
        _controllers(bench, Path(folder)) as controllers,
        step_calls(bench.cluster.gateway) as calls,
    ):
        sides = _sides(bench, controllers, _nothing, {"recipe": "nothing"}, quick=quick)
        _measure_all(bench, sides, controllers.manager, many, quick=quick)
        spec = {"recipe": "reporting", "parameters": {"url": calls.url}}
        interrupted = _sides(bench, controllers, partial(kills.scripts, calls.url), spec, quick=quick)
        after = [[_kill(bench, side, calls) for _ in range(1 if quick else side.kills)] for side in interrupted]
    return _findings(sides, after, many)


def _nothing(_: str) -> list[str]:
    return [":"] * STEPS


def _recipe(name: str, scripts: Sequence[str], parameters: str = "{}") -> str:
    steps = "".join(
        f"- {{name: s{number}, status: initializing, run: {json.dumps(script)}}}\n"
        for number, script in enumerate(scripts)
    )
    return f"name: {name}\nimage: {BUSYBOX}\nparameters: {parameters}\nsteps:\n{steps}"


@contextmanager
def _controllers(bench: Bench, folder: Path) -> Iterator[Controllers]:
    tekton = tekton_peer.install(bench, folder)
    argo = argo_peer.install(bench, folder)
    manager = controller_manager(bench.cluster, folder / "manager.log")
    with ExitStack() as stack:
        for process in (manager, tekton, argo):
            stack.enter_context(running(process))
        yield Controllers(bench.operator, manager, tekton, argo)


def _sides(bench: Bench, controllers: Controllers, scripts: Scripts, ours: Body, *, quick: bool) -> list[Side]:
    """The contenders, ours first, without the slow ones if `quick`; `ours` is the spec of our setups."""

    def pod(name: str) -> Body:
        script = "\n".join(f"sh -euc {shlex.quote(script)}" for script in scripts(name))
        return {"restartPolicy": "Never", "containers": containers([script])}

    sides = [
        Side("", bench.setups(ours), controllers.ours, 5, 5),
        Side(
            "a Job with the steps in one container, without an operator",
            bench.jobs("bare Job", pod),
            controllers.manager,
            5,
            5,
        ),
        Side(
            "a run of Tekton in one pod, with a container for each step",
            tekton_peer.task_runs(bench, scripts),
            controllers.tekton,
            5,
            3,
        ),
        Side(
            "a run of Tekton with a pod for each step",
            tekton_peer.pipeline_runs(bench, scripts),
            controllers.tekton,
            2,
            1,
        ),
        Side(
            "a workflow of Argo in one pod, with a container for each step",
            argo_peer.container_sets(bench, scripts),
            controllers.argo,
            3,
            1,
        ),
        Side("a workflow of Argo with a pod for each step", argo_peer.pods(bench, scripts), controllers.argo, 1, 0),
    ]
    return [side for side in sides if not quick or side.rounds > _SLOW]


def _measure_all(bench: Bench, sides: Sequence[Side], manager: Process, many: int, *, quick: bool) -> None:
    for side in {id(side.controller): side for side in reversed(sides)}.values():
        _measure(bench, side, 1, Results(), manager)  # the first pod of an image is slower
    for number in range(1 if quick else max(side.rounds for side in sides)):
        for side in sides:
            if number < side.rounds:
                _measure(bench, side, 1, side.one, manager)
    for number in range(1 if quick else max(side.rounds_of_many for side in sides)):
        for side in sides:
            if number < side.rounds_of_many:
                _measure(bench, side, many, side.many, manager)


def _measure(bench: Bench, side: Side, count: int, results: Results, manager: Process) -> None:
    pids = {side.controller.pid, manager.pid}
    before = sum(map(cpu_seconds, pids))
    with _explained(side):
        seconds, writes = bench.run(side.contender, count)
    results.took.append(seconds)
    results.wrote.append(writes)
    results.cpu.append(1000 * (sum(map(cpu_seconds, pids)) - before) / count)
    results.memory.append(tree_memory(side.controller.pid))
    bench.clear(side.contender)
    print(f"{side.name}, {count} at once: {seconds:.1f} s, {writes:.1f} writes", file=sys.stderr, flush=True)


def _kill(bench: Bench, side: Side, calls: StepCalls) -> Aftermath:
    contender, version = side.contender, bench.version(side.contender)
    target = Target(
        name=side.name,
        controller=side.controller,
        create=lambda name: contender.create([name]),
        await_success=lambda name: bench.await_succeeded(contender, [name], version),
        limit=contender.limit,
    )
    with _explained(side):
        after = kills.kill_in_the_middle(target, calls)
    bench.clear(contender)
    return after


@contextmanager
def _explained(side: Side) -> Iterator[None]:
    """Add the log of the controller to an error."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"{error}; the log of its controller ends with: {side.controller.log_tail()}") from error


def _findings(sides: Sequence[Side], after: Sequence[Sequence[Aftermath]], many: int) -> Findings:
    ours, bare, task_run = sides[:3]
    one_at_a_time, at_once = f"{STEPS} steps that do nothing, one at a time", f"{many} at once"
    cpu, memory = "CPU of the controllers", "Memory of the controller"

    def rates(side: Side) -> list[float]:
        return [60 * many / seconds for seconds in side.many.took]

    return Findings(
        title="Peers on a real node",
        text=TEXT.format(many=many),
        peers=[Peer(name=side.name, what=side.what) for side in sides[1:]],
        goals=[*_goals(ours, bare, task_run, many), *kills.goals(after[0], after[1:])],
        comparisons=[
            _comparison(one_at_a_time, "s", sides, lambda side: side.one.took, headline="time"),
            _comparison(at_once, "runs per minute", sides, rates, better="more", headline=f"rate, {at_once}"),
            _comparison(one_at_a_time, "writes", sides, lambda side: side.one.wrote, headline="writes"),
            _comparison(at_once, "writes per run", sides, lambda side: side.many.wrote),
            _comparison(f"{one_at_a_time}: {cpu}", "ms", sides, lambda side: side.one.cpu, headline=cpu),
            _comparison(f"{at_once}: {cpu}", "ms per run", sides, lambda side: side.many.cpu),
            _comparison(memory, "MiB", sides, lambda side: side.many.memory, headline=memory.lower()),
        ],
        after_kill=kills.comparisons(after),
        tables=[kills.table(after)],
    )


def _goals(ours: Side, bare: Side, task_run: Side, many: int) -> list[Goal]:
    def ratio(above: Sequence[float], below: Sequence[float]) -> float:
        return median(above) / median(below)

    return [
        at_least("time of a TaskRun relative to ours", 1.3, ratio(task_run.one.took, ours.one.took), "times"),
        at_most("writes relative to a TaskRun", 50, 100 * ratio(ours.one.wrote, task_run.one.wrote), "%"),
        at_least(f"{many} at once, rate relative to TaskRuns", 4, ratio(task_run.many.took, ours.many.took), "times"),
        at_least(f"{many} at once, rate relative to bare Jobs", 95, 100 * ratio(bare.many.took, ours.many.took), "%"),
    ]


def _comparison(
    title: str,
    unit: str,
    sides: Sequence[Side],
    values: Callable[[Side], list[float]],
    *,
    better: Better = "less",
    headline: str = "",
) -> Comparison:
    contenders = [Measured(name=side.name, rounds=values(side)) for side in sides if values(side)]
    return Comparison(title=title, unit=unit, better=better, contenders=contenders, headline=headline)

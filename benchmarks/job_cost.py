"""What setups cost as Jobs on a real node, beside bare Jobs that do the same: seconds, and writes to the API server."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from benchmarks.figures import Comparison, Findings, Goal, at_least, at_most
from benchmarks.figures import Contender as Measured
from benchmarks.node import Bench, Contender, node
from devcluster.images import BUSYBOX

ROUNDS: Final = 5
ROUNDS_OF_MANY: Final = 7
STEPS: Final = 7
AT_ONCE: Final = 20
TEXT: Final = """\
Setups of seven steps that do nothing, as Kubernetes Jobs on a real node, from their creation to their end, beside bare
Jobs that run the same: all steps in one container, and each in one of its own. The writes are all that the API server
takes for one of them, also from the kubelet, the scheduler and the controllers; how many these write depends on
whether the kubelet, which looks once a second, sees the container run."""


def measure(*, quick: bool) -> Findings:  # noqa: ARG001  # it has no small form, and is left out then
    """Run all in turn, several rounds: one by one, then many at once."""
    recipes = {"one-stage": _recipe("one-stage", isolate=False), "stages": _recipe("stages", isolate=True)}
    with node(recipes, concurrency=AT_ONCE) as bench:
        return _measure_on(bench)


def _recipe(name: str, *, isolate: bool) -> str:
    told = str(isolate).lower()
    steps = [f"- {{name: s{number}, status: initializing, run: ':', isolate: {told}}}\n" for number in range(STEPS)]
    return f"name: {name}\nimage: {BUSYBOX}\nsteps:\n{''.join(steps)}"


def _measure_on(bench: Bench) -> Findings:
    ours, ours_apart = bench.setups({"recipe": "one-stage"}), bench.setups({"recipe": "stages"})
    one, seven = _bare(bench, 1), _bare(bench, STEPS)
    for contender in (ours, one):
        bench.run(contender, 1)  # the first pod of an image is slower
    for _ in range(ROUNDS):
        for contender in (ours, one, ours_apart, seven):
            bench.measure(contender, 1)
    many = [bench.setups({"recipe": "one-stage"}), _bare(bench, 1)]
    for _ in range(ROUNDS_OF_MANY):
        for contender in many:
            bench.measure(contender, AT_ONCE)
    return Findings(
        title="Jobs",
        text=TEXT,
        goals=[
            _more_seconds(ours, one),
            _more_seconds(ours_apart, seven),
            _more_writes("one stage", many),
            _more_writes("seven stages", (ours_apart, seven)),
            at_least(f"{AT_ONCE} at once, beside bare Jobs", 90, 100 * _typical(many[1]) / _typical(many[0]), "%"),
            at_least(f"{AT_ONCE} at once, setups a minute", 120, 60 * AT_ONCE / _typical(many[0])),
        ],
        comparisons=[
            *_comparisons(f"{STEPS} steps that do nothing, one container", (ours, one)),
            *_comparisons(f"{STEPS} steps that do nothing, {STEPS} containers", (ours_apart, seven)),
            *_comparisons(f"{AT_ONCE} at once, one container each", many),
        ],
    )


def _more_seconds(ours: Contender, bare: Contender) -> Goal:
    return at_most(f"seconds more than a {bare.name}", 0.5, _typical(ours) - _typical(bare), "s")


def _more_writes(what: str, pair: Sequence[Contender]) -> Goal:
    """Four of the operator, and the one that makes the ProjectSetup."""
    ours, bare = pair
    return at_most(f"writes more than a bare Job, {what}", 5, median(ours.wrote) - median(bare.wrote))


def _comparisons(what: str, contenders: Sequence[Contender]) -> list[Comparison]:
    took = [Measured(name=contender.name, rounds=contender.took) for contender in contenders]
    wrote = [Measured(name=contender.name, rounds=contender.wrote) for contender in contenders]
    return [Comparison(title=what, unit="s", contenders=took), Comparison(title=what, unit="writes", contenders=wrote)]


def _typical(contender: Contender) -> float:
    return median(contender.took)


def _bare(bench: Bench, containers: int) -> Contender:
    """Bare Jobs of so many containers, all but the last of them init containers, which share as many steps as ours."""
    script = "\n".join(["sh -euc :"] * (STEPS // containers))
    made = [{"name": f"c{number}", "image": BUSYBOX, "command": ["sh", "-c", script]} for number in range(containers)]
    pod: dict[str, Any] = {"restartPolicy": "Never", "initContainers": made[:-1], "containers": made[-1:]}
    return bench.jobs(f"bare Job of {containers} {'containers' if containers > 1 else 'container'}", lambda _: pod)

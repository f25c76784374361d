"""The cost of setups as Jobs on a real node, compared with bare Jobs: seconds, and writes to the API server."""

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
Setups of seven steps that do nothing, as Kubernetes Jobs on a real node, from creation to end, compared with bare
Jobs that run the same: all steps in one container, and each step in its own container. Writes are all writes that the
API server accepts for one of them, including those of the kubelet, the scheduler and the controllers; their number
depends on whether the kubelet, which checks once a second, observes the container running."""


def measure(*, quick: bool) -> Findings:  # noqa: ARG001  # has no quick form and is then skipped
    """Run the contenders in turn, several rounds: one at a time, then many concurrently."""
    recipes = {"one-stage": _recipe("one-stage", isolate=False), "stages": _recipe("stages", isolate=True)}
    with node(recipes, concurrency=AT_ONCE) as bench:
        return _measure_on(bench)


def _recipe(name: str, *, isolate: bool) -> str:
    isolated = str(isolate).lower()
    steps = [f"- {{name: s{number}, status: initializing, run: ':', isolate: {isolated}}}\n" for number in range(STEPS)]
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
    ratio = _typical(many[1]) / _typical(many[0])
    return Findings(
        title="Jobs",
        text=TEXT,
        goals=[
            _more_seconds(ours, one),
            _more_seconds(ours_apart, seven),
            _more_writes("one stage", many),
            _more_writes("seven stages", (ours_apart, seven)),
            at_least(f"{AT_ONCE} concurrent, relative to bare Jobs", 90, 100 * ratio, "%"),
            at_least(f"{AT_ONCE} concurrent, setups per minute", 120, 60 * AT_ONCE / _typical(many[0])),
        ],
        comparisons=[
            *_comparisons(f"{STEPS} steps that do nothing, one container", (ours, one)),
            *_comparisons(f"{STEPS} steps that do nothing, {STEPS} containers", (ours_apart, seven)),
            *_comparisons(f"{AT_ONCE} concurrent, one container each", many),
        ],
    )


def _more_seconds(ours: Contender, bare: Contender) -> Goal:
    return at_most(f"extra seconds over a {bare.name}", 0.5, _typical(ours) - _typical(bare), "s")


def _more_writes(what: str, pair: Sequence[Contender]) -> Goal:
    """The limit is four writes of the operator, and the one that creates the ProjectSetup."""
    ours, bare = pair
    return at_most(f"extra writes over a bare Job, {what}", 5, median(ours.wrote) - median(bare.wrote))


def _comparisons(what: str, contenders: Sequence[Contender]) -> list[Comparison]:
    took = [Measured(name=contender.name, rounds=contender.took) for contender in contenders]
    wrote = [Measured(name=contender.name, rounds=contender.wrote) for contender in contenders]
    return [Comparison(title=what, unit="s", contenders=took), Comparison(title=what, unit="writes", contenders=wrote)]


def _typical(contender: Contender) -> float:
    return median(contender.took)


def _bare(bench: Bench, containers: int) -> Contender:
    """Bare Jobs that spread the steps over so many containers, all but the last of them init containers."""
    script = "\n".join(["sh -euc :"] * (STEPS // containers))
    made = [{"name": f"c{number}", "image": BUSYBOX, "command": ["sh", "-c", script]} for number in range(containers)]
    pod: dict[str, Any] = {"restartPolicy": "Never", "initContainers": made[:-1], "containers": made[-1:]}
    return bench.jobs(f"bare Job of {containers} {'containers' if containers > 1 else 'container'}", lambda _: pod)

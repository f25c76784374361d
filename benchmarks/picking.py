"""What it costs the operator to pick the next setup while many wait for the limits of their namespaces and recipes."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Final

from benchmarks.figures import Comparison, Contender, Findings, at_most
from projectsetup.api.limits import Limits
from projectsetup.api.models import Rank
from projectsetup.controller.slots import Slots

NAMESPACES, RECIPES = 100, 20
PER_NAMESPACE, PER_RECIPE = 2, 10
"""All namespaces together, and all recipes together, may use the same number of slots: each is at its limit."""
LIMITS: Final = Limits(PER_NAMESPACE, {f"recipe-{number}": PER_RECIPE for number in range(RECIPES)})
FEW, MANY = 10, 10_000
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
TEXT: Final = """\
The operator's slots alone, without servers: {picks:,} times an attempt ends, the next setup is picked, and another one
begins to wait. {namespaces} namespaces with at most {per_namespace} attempts each and {recipes} recipes with at most
{per_recipe} each are all at their limits. Measured is the CPU of ending and picking, with {few} and with {many:,}
setups that wait, {rounds} times each, and the CPU of removing these limits and applying them again while {many:,} wait.
"""


class _Queue:
    """Slots with all limits reached, in which always the same number waits."""

    def __init__(self, waiting: int) -> None:
        self._slots = Slots(NAMESPACES * PER_NAMESPACE)
        self._slots.limit(LIMITS)
        self._made = 0
        for _ in range(NAMESPACES * RECIPES):
            self._add()
        self._running = deque(self._slots.grant())
        while self._slots.waiting < waiting:
            self._add()
        for key in [key for key, _ in zip(self._slots._waiting, range(self._slots.waiting - waiting), strict=False)]:  # noqa: SLF001  # benchmarked from inside
            self._slots.release(key)

    def _add(self) -> None:
        number = self._made
        key = (f"namespace-{number % NAMESPACES}", f"{number:07}")
        rank = Rank(1 + number % 3, BEGAN + timedelta(seconds=number), "/".join(key))
        self._slots.enqueue(key, rank, f"recipe-{(number // NAMESPACES + number) % RECIPES}")
        self._made += 1

    def pick(self) -> float:
        """End the oldest attempt and pick the next; returns seconds of CPU."""
        key = self._running.popleft()
        began = time.thread_time()
        self._slots.release(key)
        granted = self._slots.grant()
        took = time.thread_time() - began
        self._running += granted
        self._add()
        self._running += self._slots.grant()
        return took

    def apply_limits(self) -> float:
        """Seconds of CPU to remove the limits, and to apply them again."""
        began = time.thread_time()
        self._slots.limit(Limits())
        self._slots.limit(LIMITS)
        return time.thread_time() - began


def measure(*, quick: bool) -> Findings:
    """Few and many in turn."""
    picks, rounds = (200, 1) if quick else (5000, 5)
    costs: dict[int, list[float]] = {FEW: [], MANY: []}
    changes = []
    for _ in range(rounds):
        for waiting, found in costs.items():
            queue = _Queue(waiting)
            found.append(1e6 * fmean(queue.pick() for _ in range(picks)))
        changes.append(1e3 * queue.apply_limits())
    contenders = [Contender(name=f"{waiting:,} setups wait", rounds=found) for waiting, found in costs.items()]
    few, many = (contender.typical for contender in contenders)
    text = TEXT.format(
        picks=picks,
        namespaces=NAMESPACES,
        per_namespace=PER_NAMESPACE,
        recipes=RECIPES,
        per_recipe=PER_RECIPE,
        few=FEW,
        many=MANY,
        rounds=rounds,
    )
    change = Contender(name="limits removed and applied again", rounds=changes)
    return Findings(
        title="Picking the next setup",
        text=text,
        goals=[
            at_most(f"a pick with {MANY:,} that wait, compared with {FEW}", 2, many / few, "times"),
            at_most(f"a change of limits while {MANY:,} wait", 1000, change.typical, "ms"),
        ],
        comparisons=[Comparison(title="ending an attempt and picking the next", unit="µs", contenders=contenders)],
    )

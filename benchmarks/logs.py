"""What keeping logs costs: steps that flood the operator with output, and many that print much at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.arena import Arena, Process, until
from benchmarks.figures import Comparison, Contender, Findings, at_most, percentile
from benchmarks.latency import LIMIT, MEDIAN, P95, successes

KEPT, NOT_KEPT = "logs are kept", "logs are not kept"
SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {KEPT: {}, NOT_KEPT: {"PROJECTSETUP_LOG_LIMIT": "0"}}
LINE: Final = "compiling module orders.api.handlers.create, 17 of 402"
TEXT: Final = """\
One step that prints {size} MB as fast as it can, and {many} steps at once that each print 1,000 lines a second for
{seconds} s, with the local engine, which logs the first 5,000 lines of a step itself in any case. The operator runs in
turn with and without `PROJECTSETUP_LOG_LIMIT=0`, {rounds} times each. End latency is measured from the end of the step
until a watch delivers the resource as `Succeeded`. Memory is the highest resident memory while the step runs, above
that before it."""
MEBIBYTE: Final = 1024


def measure(*, quick: bool) -> Findings:
    """Both settings in turn."""
    rounds, size, many, seconds = (1, 30, 4, 1) if quick else (4, 300, 20, 10)
    durations: dict[str, list[float]] = {name: [] for name in SETTINGS}
    memory: dict[str, list[float]] = {name: [] for name in SETTINGS}
    latencies: dict[str, list[list[float]]] = {name: [] for name in SETTINGS}
    with Arena.open() as arena:
        stamps = arena.folder / "stamps"
        stamps.mkdir()
        stamp = f"date +%s%N > {stamps}/$PROJECT_ID"
        arena.recipe("quiet", f"{stamp}.began; {stamp}.ended")
        arena.recipe("flood", f"{stamp}.began; yes '{LINE}' | head -c {size}000000; {stamp}.ended")
        lines = f"yes '{LINE}' | head -n 100; sleep 0.1"
        arena.recipe("chatty", f"i=0; while [ $i -lt {10 * seconds} ]; do {lines}; i=$((i + 1)); done; {stamp}.ended")
        for _ in range(rounds):
            for name, settings in SETTINGS.items():
                with arena.operator({"PROJECTSETUP_CONCURRENCY": str(many), **settings}) as operator:
                    _flood(arena, stamps, operator, durations[name], memory[name])
                    latencies[name].append(_chatty(arena, stamps, many))
    text = TEXT.format(size=size, many=many, seconds=seconds, rounds=rounds)
    return _findings(text, durations, memory, latencies)


def _findings(
    text: str,
    durations: dict[str, list[float]],
    memory: dict[str, list[float]],
    latencies: dict[str, list[list[float]]],
) -> Findings:
    comparisons = [
        Comparison(title="duration of the step that floods", unit="s", contenders=_contenders(durations)),
        Comparison(title="memory of the operator meanwhile", unit="MiB", contenders=_contenders(memory)),
    ]
    for title, share in (("median", MEDIAN), ("95th percentile", P95)):
        by_round = {name: [percentile(values, share) for values in rounds] for name, rounds in latencies.items()}
        comparisons.append(
            Comparison(
                title=f"end latency of many that print much, {title}", unit="ms", contenders=_contenders(by_round)
            )
        )
    (slow, quick), (large, small), (late, early) = (
        [contender.typical for contender in comparison.contenders] for comparison in comparisons[:3]
    )
    goals = [
        at_most("a step that floods is slower by", 5, 100 * (slow / quick - 1), "%"),
        at_most("memory that its log takes", 8, large - small, "MiB"),
        at_most("end latency of many that print much, median, compared with no logs", 1.5, late / early, "times"),
    ]
    return Findings(title="Logs", text=text, goals=goals, comparisons=comparisons)


def _contenders(values: Mapping[str, list[float]]) -> list[Contender]:
    return [Contender(name=name, rounds=rounds) for name, rounds in values.items()]


def _flood(arena: Arena, stamps: Path, operator: Process, durations: list[float], memory: list[float]) -> None:
    """One flood after a quiet setup, since caches are cold."""
    for recipe in ("quiet", "flood"):
        (name,) = arena.projects(1)
        _reset_peak(operator.pid)
        before = _memory(operator.pid, "VmRSS")
        arena.create([name], recipe)
        until(lambda: arena.all_in("Succeeded"), f"the setup with recipe {recipe} to succeed", alive=operator)
        began, ended = (int((stamps / f"{name}.{what}").read_text()) for what in ("began", "ended"))
        peak = _memory(operator.pid, "VmHWM")
        arena.clear()
    durations.append((ended - began) / 1e9)
    memory.append((peak - before) / MEBIBYTE)


def _chatty(arena: Arena, stamps: Path, many: int) -> list[float]:
    names = arena.projects(many)
    with successes(arena) as seen:
        arena.create(names, "chatty")
        delivered = dict(seen.get(timeout=LIMIT) for _ in names)
    latencies = [(delivered[name] - int((stamps / f"{name}.ended").read_text())) / 1e6 for name in names]
    arena.clear()
    time.sleep(1)  # until the operator is idle
    return latencies


def _memory(pid: int, field: str) -> float:
    """KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:")))


def _reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")

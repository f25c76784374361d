"""Latency on an idle operator: from creation to the first process, and from the end of a step to `Succeeded`."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.arena import COLLECTION, Arena
from benchmarks.figures import Comparison, Contender, Curve, Findings, Series, at_most, percentile
from benchmarks.throughput import KOPF, OURS, peer

TEXT: Final = """\
One setup at a time on an otherwise idle operator; {samples} per operator, in {blocks} alternating blocks. The step
records the time, sleeps for 0.3 s, and becomes a process that records the time and ends. Start latency is measured
from the response to the creation until the first `date` has run, end latency from the second `date` until a watch
delivers the resource as `Succeeded`. The job queue that this operator replaces takes 12 ms from insert to perform, 17
ms at the 95th percentile."""
SLEEP: Final = 0.3
PAUSE: Final = 0.1
LIMIT: Final = 60.0
MEDIAN, P95, P99 = 0.5, 0.95, 0.99


@dataclass
class _Samples:
    starts: list[list[float]] = field(default_factory=list)
    ends: list[list[float]] = field(default_factory=list)
    """Milliseconds by block."""


def measure(*, quick: bool) -> Findings:
    """The operator and the peer in turn."""
    blocks, size = (1, 10) if quick else (4, 50)
    found = {OURS: _Samples(), KOPF: _Samples()}
    with Arena.open() as arena:
        stamps = arena.folder / "stamps"
        stamps.mkdir()
        stamp = f"date +%s%N > {stamps}/$PROJECT_ID"
        script = f"{stamp}.began; sleep {SLEEP}; exec {stamp}.ended"
        arena.recipe("stamped", script)
        for _ in range(blocks):
            with arena.operator():
                _block(arena, stamps, size, found[OURS])
            with peer(arena, {"PEER_EVENTS": "true", "PEER_SCRIPTS": script}):
                _block(arena, stamps, size, found[KOPF])
    return _findings(found, TEXT.format(samples=blocks * size, blocks=blocks))


def _findings(found: dict[str, _Samples], text: str) -> Findings:
    goals, comparisons, curves = [], [], []
    for what, chosen in (("created to running", "starts"), ("finished to Succeeded observed", "ends")):
        by_block: dict[str, list[list[float]]] = {name: getattr(samples, chosen) for name, samples in found.items()}
        everything = {name: [value for block in blocks for value in block] for name, blocks in by_block.items()}
        ours = everything[OURS]
        goals += [
            at_most(f"{what}, median", 30, percentile(ours, MEDIAN), "ms"),
            at_most(f"{what}, 99th percentile", 150, percentile(ours, P99), "ms"),
        ]
        for title, share in (("median", MEDIAN), ("95th percentile", P95), ("99th percentile", P99)):
            contenders = [
                Contender(name=name, rounds=[percentile(block, share) for block in blocks])
                for name, blocks in by_block.items()
            ]
            comparisons.append(Comparison(title=f"{what}, {title}", unit="ms", contenders=contenders))
        series = [Series(name=name, points=distribution(values)) for name, values in everything.items()]
        curves.append(Curve(title=f"Share of setups, {what}", x="ms", y="%", series=series))
    return Findings(title="Latency", text=text, goals=goals, comparisons=comparisons, curves=curves)


def distribution(values: list[float]) -> list[tuple[float, float]]:
    return [(value, 100 * (index + 1) / len(values)) for index, value in enumerate(sorted(values))]


def _block(arena: Arena, stamps: Path, size: int, samples: _Samples) -> None:
    """The first setup is not counted, since caches are cold."""
    names = arena.projects(size + 1)
    starts, ends = [], []
    with successes(arena) as seen:
        for name in names:
            arena.create([name], "stamped")
            acknowledged = time.time_ns()
            _, delivered = seen.get(timeout=LIMIT)
            began, ended = (int((stamps / f"{name}.{what}").read_text()) for what in ("began", "ended"))
            starts.append((began - acknowledged) / 1e6)
            ends.append((delivered - ended) / 1e6)
            time.sleep(PAUSE)
    samples.starts.append(starts[1:])
    samples.ends.append(ends[1:])
    arena.clear()


@contextmanager
def successes(arena: Arena) -> Iterator[queue.Queue[tuple[str, int]]]:
    """The name of each setup that succeeds, and the wall clock time in nanoseconds at which a watch delivered that."""
    delivered: queue.Queue[tuple[str, int]] = queue.Queue()
    since = arena.wire.get(f"{COLLECTION}?limit=1")["metadata"]["resourceVersion"]
    stopped = threading.Event()

    def follow() -> None:
        known: set[str] = set()
        for line in arena.wire.watch(since):
            now = time.time_ns()
            if stopped.is_set():
                return
            body = json.loads(line)["object"]
            name = body["metadata"]["name"]
            if body.get("status", {}).get("phase") == "Succeeded" and name not in known:
                known.add(name)
                delivered.put((name, now))

    threading.Thread(target=follow, name="watch", daemon=True).start()
    yield delivered
    stopped.set()

"""A kopf operator and Oban for Python beside this operator: the same steps as child processes, in one run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import debian_python, kills, peer_kills
from benchmarks.arena import Arena, until
from benchmarks.figures import Comparison, Contender, Findings, Goal, Peer, at_least, at_most, percentile
from benchmarks.latency import MEDIAN, P95, PAUSE
from benchmarks.oban_runner import OBAN, Ask, ObanRunner, shell
from benchmarks.throughput import AT_ONCE, KOPF, OURS, STEPS, Meter, Tally, drain_kopf, drain_ours, drained, peer

OBAN_SHELL: Final = "Oban for Python, steps in a shell"
OBAN_START: Final = "Oban for Python, on uvloop"
FEW_AT_ONCE: Final = 4
SEVEN_STEPS, ONE_STEP = "seven steps", "one step"
SEVEN: Final = f"{SEVEN_STEPS}, {FEW_AT_ONCE} at once"
ONE: Final = f"{ONE_STEP}, {AT_ONCE} at once"
CPU: Final = "ms of CPU per setup"
PEERS: Final = (
    Peer(name=OBAN, what="a job queue in PostgreSQL; a worker runs the steps, without Kubernetes and supervision"),
    Peer(name=KOPF, what="an operator written with kopf for this comparison, without a queue and supervision"),
)
TRUE, NOTHING = "/bin/true", ":"
_SERVERS: Final = ("apiserver", "etcd", "postgres")
TEXT: Final = f"""\
Seven times /bin/true with {FEW_AT_ONCE} concurrent setups ({{seven:,}} a round), and one step that does nothing with
{AT_ONCE} ({{one:,}} a round), drained from a queue in which all wait, by one contender after the other on the same
servers; {{rounds}} rounds. All run on Python {debian_python.PYTHON} of Debian, like the operator's image. Oban for
Python 0.7.0 has its defaults (`benchmarks/oban_peer.py`): its worker loads the project, runs the steps and marks the
project ready. It runs embedded in an asyncio application, and once more as `oban start`, whose uvloop starts processes
at a higher cost.

It is not all the same work. This operator and the kopf operator write a Kubernetes status and events, which API server
and etcd pay for. Only this operator supervises its steps, so that none outlives it, runs each setup in a workspace of
its own and keeps the output. Its steps are shell scripts, as are those of the kopf operator; a worker of Oban can start
a program without a shell. It is measured with and without; the goals are relative to asyncio without a shell.

CPU is that of the contender and its steps. Latency is that of one setup at a time, {{samples}} per contender: from the
acknowledgement of the creation, or of Oban's `enqueue`, until the first step, a shell that runs `date`, has run it.

Then, in a setup of {kills.STEPS} steps of {kills.STEP_SECONDS} s that report when they start, the operator or worker is
killed with SIGKILL during step {kills.KILLED_AT + 1}, with all its child processes, as at the end of a container. It is
started again {kills.DOWN:.0f} s later; another setup is created meanwhile. Since the steps are killed too, each
contender starts the interrupted setup from its first step. Oban rescues a job {peer_kills.RESCUED_AFTER} s after its
start; the wait for it ends {{limit:.0f}} s after the kill."""


def measure(*, quick: bool) -> Findings:
    """The contenders in turn."""
    seven_count, one_count, samples, rounds = (40, 100, 10, 1) if quick else (400, 1000, 40, 3)
    seven, one, latency = Tally(), Tally(), Tally()
    few = {"PEER_EVENTS": "true", "PEER_CONCURRENCY": f"{FEW_AT_ONCE}", "PEER_SCRIPTS": "\n".join([TRUE] * STEPS)}
    with Arena.open() as arena:
        arena.python = debian_python.python(debian_python.OURS, arena.folder)
        oban = ObanRunner(arena)
        arena.recipe("seven", *[TRUE] * STEPS)
        arena.recipe("nothing", NOTHING)
        for _ in range(rounds):
            seven.add(OURS, **drain_ours(arena, seven_count, FEW_AT_ONCE, "seven"))
            seven.add(KOPF, **drain_kopf(arena, seven_count, few))
            seven.add(OBAN, **_drain_oban(arena, oban, seven_count, [[TRUE]] * STEPS, FEW_AT_ONCE))
            seven.add(OBAN_SHELL, **_drain_oban(arena, oban, seven_count, [shell(TRUE)] * STEPS, FEW_AT_ONCE))
            on_uvloop = _drain_oban(arena, oban, seven_count, [[TRUE]] * STEPS, FEW_AT_ONCE, uvloop=True)
            seven.add(OBAN_START, **on_uvloop)
            one.add(OURS, **drain_ours(arena, one_count, AT_ONCE, "nothing"))
            one.add(KOPF, **drain_kopf(arena, one_count, {"PEER_EVENTS": "true"}))
            one.add(OBAN, **_drain_oban(arena, oban, one_count, [shell(NOTHING)], AT_ONCE))
            for name, starts in _latencies(arena, oban, samples):
                latency.add(name, median=percentile(starts, MEDIAN), p95=percentile(starts, P95))
        killed = peer_kills.measure(arena, oban, quick=quick)
    return Findings(
        title="Peers: Oban for Python and a kopf operator",
        text=TEXT.format(
            seven=seven_count,
            one=one_count,
            samples=samples * rounds,
            rounds=rounds,
            limit=killed[-1][0].limit,
        ),
        peers=PEERS,
        goals=[*_goals(seven, one, latency), *kills.goals(killed[0], killed[1:])],
        comparisons=[
            *_comparisons(seven, SEVEN, SEVEN_STEPS),
            *_comparisons(one, ONE, ONE_STEP),
            Comparison(
                title="asked for to running, median",
                unit="ms",
                contenders=latency.contenders("median"),
                headline="time until the first step runs",
            ),
            Comparison(title="asked for to running, 95th percentile", unit="ms", contenders=latency.contenders("p95")),
        ],
        after_kill=kills.comparisons(killed),
        tables=[kills.table(killed)],
    )


def _goals(seven: Tally, one: Tally, latency: Tally) -> list[Goal]:
    def ratio(tally: Tally, kind: str, to: str) -> float:
        return tally.typical(kind, OURS) / tally.typical(kind, to)

    return [
        at_most(f"CPU relative to Oban, {SEVEN}", 1.5, ratio(seven, "own", OBAN), "times"),
        at_least(f"setups per second relative to Oban, {SEVEN}", 0.4, ratio(seven, "rate", OBAN), "times"),
        at_most(f"CPU relative to the kopf operator, {ONE}", 1, ratio(one, "own", KOPF), "times"),
        at_least(f"setups per second relative to the kopf operator, {ONE}", 1, ratio(one, "rate", KOPF), "times"),
        at_most("created to running, median", 10, latency.typical("median", OURS), "ms"),
    ]


def _comparisons(tally: Tally, what: str, steps: str) -> list[Comparison]:
    parts = [tally.of[part] for part in _SERVERS]
    servers = [
        Contender(name=name, rounds=[sum(used) for used in zip(*(part[name] for part in parts), strict=True)])
        for name in tally.of["own"]
    ]
    is_main = what == SEVEN
    return [
        Comparison(
            title=what,
            unit="setups per second",
            better="more",
            contenders=tally.contenders("rate"),
            headline=f"rate, {steps}",
        ),
        Comparison(
            title=f"{what}: contender and its steps",
            unit=CPU,
            contenders=tally.contenders("own"),
            headline=f"CPU, {steps}",
        ),
        Comparison(
            title=f"{what}: API server, etcd and PostgreSQL",
            unit=CPU,
            contenders=servers,
            headline=f"CPU of the servers, {steps}" if is_main else "",
        ),
        Comparison(
            title=f"{what}: transactions",
            unit="per setup",
            contenders=tally.contenders("transactions"),
            headline=f"transactions, {steps}" if is_main else "",
        ),
    ]


def _drain_oban(
    arena: Arena, oban: ObanRunner, count: int, steps: Sequence[Sequence[str]], at_once: int, *, uvloop: bool = False
) -> dict[str, float]:
    names = arena.projects(count)
    start = oban.start(steps, at_once=at_once, paused=True, uvloop=uvloop)
    with oban.worker(start) as process, oban.client() as ask:
        ask(" ".join(names))
        meter = Meter(arena, process)
        ask("resume")
        rate = drained(arena, process, count)
        used = meter.read(count)
    used["transactions"] = (arena.transactions() - meter.transactions) / count
    oban.clear()
    arena.clear()
    return {"rate": rate, **used}


def _latencies(arena: Arena, oban: ObanRunner, samples: int) -> Iterator[tuple[str, list[float]]]:
    """Milliseconds until the first step runs, for each contender."""
    stamps = arena.folder / "stamps"
    stamps.mkdir(exist_ok=True)
    script = f"date +%s%N > {stamps}/$PROJECT_ID"
    arena.recipe("stamped", script)

    def create(name: str) -> int:
        arena.create([name], "stamped")
        return time.time_ns()

    with arena.operator():
        yield OURS, _starts(arena, create, stamps, samples)
    with peer(arena, {"PEER_EVENTS": "true", "PEER_SCRIPTS": script}):
        yield KOPF, _starts(arena, create, stamps, samples)
    with oban.worker(oban.start([shell(script)], at_once=FEW_AT_ONCE)), oban.client() as ask:
        yield OBAN, _starts(arena, ask, stamps, samples)
    oban.clear()


def _starts(arena: Arena, ask: Ask, stamps: Path, samples: int) -> list[float]:
    """The first setup is not counted, since caches are cold."""
    starts = []
    for ready, name in enumerate(arena.projects(samples + 1), 1):
        acknowledged = ask(name)
        until(lambda ready=ready: arena.ready() == ready, "the setup to finish")  # type: ignore[misc]
        starts.append((int((stamps / name).read_text()) - acknowledged) / 1e6)
        time.sleep(PAUSE)
    arena.clear()
    return starts[1:]

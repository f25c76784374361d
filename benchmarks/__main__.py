"""`python -m benchmarks`: run benchmarks of the operator and its peers."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import (
    debian_python,
    intake,
    job_cost,
    latency,
    logs,
    page,
    peers,
    picking,
    pods,
    priority,
    real_job,
    scale,
    step_cost,
    throughput,
)
from benchmarks.figures import Findings, Report
from benchmarks.machine import machine
from devcluster.node.prerequisites import node_obstacle
from images import TOOLCHAIN_OFFLINE, images_obstacle

PARTS: dict[str, Callable[..., Findings]] = {
    "peers": peers.measure,
    "peers-on-node": pods.measure,
    "operator": throughput.measure,
    "seven-steps": throughput.measure_steps,
    "latency": latency.measure,
    "intake": intake.measure,
    "real-job": real_job.measure,
    "real-job-on-node": real_job.measure_jobs,
    "logs": logs.measure,
    "picking": picking.measure,
    "priority": priority.measure,
    "step": step_cost.measure,
    "jobs": job_cost.measure,
    "scale": scale.measure,
}
"""All benchmarks, in the order in which they run and stand on the page."""
OBSTACLES: dict[str, Callable[[], str | None]] = {
    "peers": debian_python.obstacle,
    "jobs": node_obstacle,
    "peers-on-node": pods.obstacle,
    "real-job-on-node": lambda: node_obstacle() or images_obstacle((TOOLCHAIN_OFFLINE,)),
}
"""Why a benchmark that needs a real node or another Python cannot run; without names, --quick skips these."""
DOCS = Path(__file__).parents[1] / "docs"


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"any of {', '.join(PARTS)}; default: all")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="small counts, a check that writes no results")] = False,
    out: Annotated[Path | None, typer.Option(help="folder of page, results and plots; default: docs/")] = None,
) -> None:
    """Run the benchmarks one after the other and regenerate their page."""
    if unknown := set(names or ()) - set(PARTS):
        raise typer.BadParameter(f"unknown benchmark {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    chosen = names or [name for name in PARTS if not (quick and name in OBSTACLES)]
    for name in [name for name in chosen if name in OBSTACLES]:
        if obstacle := OBSTACLES[name]():
            print(f"skipping {name}: {obstacle}", file=sys.stderr)
            chosen.remove(name)
    folder = out or (None if quick else DOCS)
    for name in (name for name in PARTS if name in chosen):
        report = run(name, quick=quick)
        print(page.markdown(report), flush=True)
        if folder is not None:
            page.keep(folder, report)
            page.render(folder, PARTS)


def run(name: str, *, quick: bool) -> Report:
    """Run one benchmark."""
    facts, began = machine(), time.monotonic()
    print(f"measuring {name} ...", file=sys.stderr, flush=True)
    findings = PARTS[name](quick=quick)
    took = time.monotonic() - began
    return Report(name=name, quick=quick, machine=facts, took=took, **dict(findings))


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):  # both clean up through KeyboardInterrupt
        signal.signal(ending, signal.default_int_handler)
    typer.run(main)

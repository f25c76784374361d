"""`python -m benchmarks`: every benchmark, beside its peers, as ratios."""

from __future__ import annotations

import asyncio

from benchmarks import job_cost, step_cost, throughput
from devcluster.node.machine import node_obstacle


def main() -> None:
    """Run them one after the other."""
    asyncio.run(step_cost.measure())
    throughput.measure()
    if obstacle := node_obstacle():
        print(f"the cost of Jobs is not measured: {obstacle}")
    else:
        job_cost.measure()


if __name__ == "__main__":
    main()

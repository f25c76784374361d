"""`python -m benchmarks`: every benchmark, beside its peers, as ratios."""

from __future__ import annotations

import asyncio

from benchmarks import step_cost, throughput


def main() -> None:
    """Run them one after the other."""
    asyncio.run(step_cost.measure())
    throughput.measure()


if __name__ == "__main__":
    main()

"""The API server, etcd and PostgreSQL are killed, each for a while, and started again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from devcluster import Cluster
from devcluster.cluster import PARTS
from tests.support.chaos.arena import Arena, NewArena, await_lead
from tests.support.chaos.form import IS_LONG, SEED
from tests.support.chaos.keeper import Keeper
from tests.support.chaos.verdict import judge
from tests.support.operator_process import wait_for

LIMIT = 120.0
RUNNING, DOOMED, QUEUED = 2, 2, 6


class Outages:
    """One operator, started again whenever it ends, and setups in every state when a part goes away."""

    def __init__(self, arena: Arena, control_plane: Cluster) -> None:
        self._arena = arena
        self._control_plane = control_plane
        self._luck = random.Random(SEED)  # noqa: S311  # the same order every time
        self.keeper = Keeper(arena.operator().start())
        await_lead(self.keeper.operator)

    def strike(self, part: str, seconds: float) -> float:
        """Take the part away for so long while setups run, end, wait, are cancelled and deleted; until all are over.

        The seconds that the last of them needs after the part is back.
        """
        arena = self._arena
        arena.journal.gate.unlink(missing_ok=True)
        running = [arena.submit("gated") for _ in range(RUNNING)]
        cancelled, deleted = (arena.submit("stubborn", seconds=0.5) for _ in range(DOOMED))
        ready = (*running, cancelled, deleted)
        wait_for(lambda: all(arena.journal.tells(setup.project, "end") for setup in ready), "setups to run")
        queued = arena.submit_mixed(QUEUED, self._luck)
        for setup in (cancelled, queued[-1]):
            arena.cancel(setup)
        arena.delete(deleted)
        time.sleep(self._luck.uniform(0.0, 0.5))
        self._control_plane.stop(part)
        self._await(time.monotonic() + seconds)
        self._control_plane.start(part)
        arena.journal.gate.touch()
        return arena.await_ends(limit=LIMIT, meanwhile=self.keeper.look)

    def _await(self, end: float) -> None:
        while time.monotonic() < end:
            self.keeper.look()
            time.sleep(0.1)


def test_outages_lose_nothing_and_burn_no_attempt(
    new_arena: NewArena, control_plane: Cluster, tell: Callable[[object], None]
) -> None:
    lengths = (1, 10, 60) if IS_LONG else (1, 6)
    with new_arena() as arena:
        outages = Outages(arena, control_plane)
        for part in PARTS:
            after = {seconds: outages.strike(part, seconds) for seconds in lengths}
            tell(
                ", ".join(f"{part} away for {seconds} s: all over {after[seconds]:.1f} s later" for seconds in lengths)
            )
        arena.await_no_remains()
        figures, restarts = judge(arena), outages.keeper.restarts
        tell(f"the operator ended {restarts} times; {figures}")
        assert figures.burned == 0
        assert figures.given_back == 0 or restarts > 0

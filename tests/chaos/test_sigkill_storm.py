"""The operator is killed at random moments, again and again, while it sets up hundreds of projects."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.chaos.arena import Arena, NewArena, Setup, await_lead
from tests.chaos.form import IS_LONG, SEED
from tests.chaos.verdict import judge

IN_STARTUP = 0.2
"""Share of the kills that hit an operator which does not lead yet,"""
STARTUP, WORK = 3.0, 2.5
"""and seconds after its start, or after it began to lead, in which it is killed."""
BACKLOG = 10
CANCELLED, DELETED = 0.15, 0.1


class Storm:
    """What is done to the operator and to its setups, in an order that the seed decides."""

    def __init__(self, arena: Arena, *, setups: int, kills: int) -> None:
        self._arena = arena
        self._luck = random.Random(SEED)  # noqa: S311  # the same order every time
        self._operator = arena.operator()
        self._setups, self._kills = setups, kills

    def blow(self) -> None:
        """Kill it `kills` times; meanwhile setups are submitted, some cancelled and some deleted."""
        for kill in range(self._kills):
            self._operator.start(ready=False)
            submitted = self._submit(ahead=kill / self._kills)
            if self._luck.random() < IN_STARTUP:
                time.sleep(self._luck.uniform(0.0, STARTUP))
            else:
                await_lead(self._operator)
                self._disturb(submitted, until=time.monotonic() + self._luck.uniform(0.0, WORK))
            self._operator.kill()
        self._submit(ahead=1.0)
        self._operator.start()

    def _submit(self, *, ahead: float) -> list[Setup]:
        """So many setups that there is always work, and that the last comes with the last kill."""
        count = min(round(self._setups * ahead) + BACKLOG, self._setups) - len(self._arena.setups)
        return self._arena.submit_mixed(count, self._luck)

    def _disturb(self, submitted: list[Setup], *, until: float) -> None:
        for setup in submitted:
            wish = self._luck.random()
            time.sleep(max(0.0, (until - time.monotonic()) * self._luck.random()))
            if wish < CANCELLED:
                self._arena.cancel(setup)
            elif wish < CANCELLED + DELETED:
                self._arena.delete(setup)
        time.sleep(max(0.0, until - time.monotonic()))


def test_sigkills_at_random_moments(new_arena: NewArena, tell: Callable[[object], None]) -> None:
    setups, kills = (300, 200) if IS_LONG else (20, 6)
    with new_arena(concurrency="4") as arena:
        Storm(arena, setups=setups, kills=kills).blow()
        seconds = arena.await_ends(limit=600 if IS_LONG else 90)
        arena.await_no_remains()
        figures = judge(arena)
        tell(f"{kills} SIGKILLs, all over {seconds:.0f} s after the last; {figures}")
        assert figures.given_back == 0
        assert figures.burned > 0
        assert arena.operators[0].terminate() == 0
        arena.await_no_remains()

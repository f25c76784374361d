"""An API server that is slow, forgets to answer, cuts watches, and answers with errors at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.support.chaos.arena import Arena, NewArena, await_lead
from tests.support.chaos.form import IS_LONG, SEED
from tests.support.chaos.keeper import Keeper
from tests.support.chaos.proxy import Proxy
from tests.support.chaos.verdict import judge

CANCELLED, DELETED = 5, 9
"""One in so many setups."""


def test_all_ends_well_with_a_slow_and_lossy_api_server(
    new_arena: NewArena, kubeconfig_of_plane: Path, tmp_path: Path, tell: Callable[[object], None]
) -> None:
    count, share = (150, 0.3) if IS_LONG else (24, 0.25)
    luck = random.Random(SEED)  # noqa: S311  # the same order every time
    with Proxy(kubeconfig_of_plane, tmp_path, luck) as proxy, new_arena() as arena:
        proxy.trouble.share = share
        keeper = Keeper(arena.operator(kubeconfig=proxy.path).start(ready=False))
        await_lead(keeper.operator)
        disturb(arena, count)
        seconds = arena.await_ends(limit=600 if IS_LONG else 120, meanwhile=keeper.look)
        proxy.trouble.share = 0.0
        arena.await_no_remains()
        figures = judge(arena)
        met = ", ".join(f"{times} {kind}" for kind, times in sorted(proxy.trouble.met.items()))
        tell(f"all over after {seconds:.0f} s; requests {met}; the operator ended {keeper.restarts} times; {figures}")
        assert figures.burned == 0
        assert sum(proxy.trouble.met.values()) > 0


def disturb(arena: Arena, count: int) -> None:
    """Submit setups; cancel some of them and delete others."""
    luck = random.Random(SEED)  # noqa: S311  # the same order every time
    setups = arena.submit_mixed(count, luck)
    for number, setup in enumerate(setups, start=1):
        if number % CANCELLED == 0:
            arena.cancel(setup)
        elif number % DELETED == 0:
            arena.delete(setup)

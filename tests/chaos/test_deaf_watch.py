"""A watch that stays open and tells nothing, and one that cannot be had."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.chaos import faulty_operator
from tests.support.chaos.arena import NewArena, await_lead
from tests.support.chaos.form import IS_LONG, SEED
from tests.support.chaos.proxy import Proxy
from tests.support.chaos.verdict import judge
from tests.support.operator_process import wait_for

FAULTY: Final = (sys.executable, str(Path(faulty_operator.__file__)))
COMPARE_SECONDS: Final = "3"
"""In the short form full lists come more often than they do."""
LIMIT: Final = 120.0
TRIES: Final = 2


def test_a_silent_watch_is_noticed_and_what_it_misses_is_found(
    new_arena: NewArena, kubeconfig_of_plane: Path, tmp_path: Path, tell: Callable[[object], None]
) -> None:
    environment = {} if IS_LONG else {"COMPARE_SECONDS": COMPARE_SECONDS}
    luck = random.Random(SEED)  # noqa: S311
    with Proxy(kubeconfig_of_plane, tmp_path, luck) as proxy, new_arena() as arena:
        operator = arena.operator(kubeconfig=proxy.path, command=FAULTY, environment=environment).start()
        await_lead(operator)
        deleted, cancelled = arena.submit("gated"), arena.submit("gated")
        wait_for(
            lambda: all(arena.journal.tells(setup.project, "end") for setup in (deleted, cancelled)),
            "the setups to run",
        )
        proxy.trouble.deaf = True
        arena.delete(deleted)
        arena.cancel(cancelled)
        arena.submit("calm")
        wait_for(lambda: "watch: silent" in operator.get("/readyz")[1], "/readyz to say so", limit=LIMIT)
        arena.await_ends(limit=LIMIT)
        proxy.trouble.deaf = False
        wait_for(operator.is_ready, "the watch to begin again", limit=LIMIT)
        arena.submit("calm")
        arena.await_ends(limit=LIMIT)
        arena.await_no_remains()
        tell(judge(arena))
        assert "restarting the watch" in operator.log.read_text()


def test_a_watch_that_is_refused_is_tried_again_and_again(
    new_arena: NewArena, kubeconfig_of_plane: Path, tmp_path: Path, tell: Callable[[object], None]
) -> None:
    luck = random.Random(SEED)  # noqa: S311
    with Proxy(kubeconfig_of_plane, tmp_path, luck) as proxy, new_arena() as arena:
        watch = f"/apis/codemyspec.com/v1alpha1/namespaces/{arena.stage.api.namespace}/projectsetups"
        proxy.trouble.no_watch = True
        await_lead(arena.operator(kubeconfig=proxy.path).start())
        wait_for(lambda: proxy.trouble.met[f"no watch of {watch}"] >= TRIES, "the watch to be tried again", limit=LIMIT)
        proxy.trouble.no_watch = False
        wait_for(lambda: watch in proxy.watched, "the watch to begin", limit=LIMIT)
        arena.submit("calm")
        arena.await_ends(limit=LIMIT)
        tell(judge(arena))

"""Questions to the API server that must be answered, however long it is away."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Final, TypeVar

from projectsetup.api.reasons import Reason
from projectsetup.setup.errors import InfrastructureError

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.ports import JobCluster

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0

T = TypeVar("T")

_log = logging.getLogger("projectsetup.engine")


def pauses(longest: float = LONGEST_PAUSE) -> Iterator[float]:
    """Seconds between one try and the next; not all who try do so at the same time."""
    for tries in count():
        yield min(FIRST_PAUSE * 2 ** min(tries, 10), longest) * random.uniform(1.0, 1.5)  # noqa: S311  # no secret


async def answer(cluster: JobCluster, call: Callable[[], Awaitable[T]]) -> T:
    """What the call is answered in the end; InfrastructureError when it is refused."""
    for pause in pauses():
        try:
            return await call()
        except cluster.refused as error:
            raise InfrastructureError(Reason.ENGINE_ERROR, f"cannot {error}") from error
        except cluster.failed as error:
            _log.log(logging.WARNING if pause < FIRST_PAUSE * 2 else logging.DEBUG, "trying again: %s", error)
        await asyncio.sleep(pause)
    raise AssertionError("there is always another try")

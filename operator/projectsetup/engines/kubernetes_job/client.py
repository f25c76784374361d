"""What the Job engine needs of the API server, and how it retries calls that must be answered."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from projectsetup.api.reasons import Reason
from projectsetup.setup.types import InfrastructureError

Body = Mapping[str, Any]
"""An object as the API server returns it."""

MIN_DELAY: Final = 0.5
MAX_DELAY: Final = 10.0

T = TypeVar("T")

_log = logging.getLogger("projectsetup.engine")


class JobClient(Protocol):
    """Calls that the API server answers from its store, not from a cache.

    As in PEP 249, the error classes are attributes, since the implementation knows nothing of engines. Every error is
    a `failed`: the call may have been carried out or not. A `refused` call was not, and never would be.
    """

    @property
    def failed(self) -> type[Exception]:
        """What every call raises that did not succeed; its text is one clear line."""
        ...

    @property
    def refused(self) -> tuple[type[Exception], ...]:
        """Those of them that waiting does not cure."""
        ...

    @property
    def no_room(self) -> tuple[type[Exception], ...]:
        """Those of the refused that do pass: a quota is exceeded, or the namespace is being deleted."""
        ...

    async def create_or_get(self, namespace: str, manifest: dict[str, Any]) -> Body:
        """Create the Job, or return the existing one of that name."""
        ...

    async def get_job(self, namespace: str, name: str) -> Body | None:
        """Return one Job, None if it does not exist."""
        ...

    async def pods_of(self, namespace: str, job_uid: str) -> Sequence[Body]:
        """Return the pods that the Job with this uid controls."""
        ...

    async def select(self, namespace: str, selector: str) -> tuple[Sequence[Body], Sequence[Body]]:
        """Return all Jobs of a namespace with these labels, and then all pods with them, whoever created them."""
        ...

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Request the deletion of the Job with this uid, which disappears once its pods have."""
        ...

    async def warnings_about(self, namespace: str, uids: Sequence[str]) -> Sequence[str]:
        """Return the texts of the warning events about these objects, newest first."""
        ...

    def read_log(
        self, namespace: str, pod: str, container: str, *, since: str | None, tail: int | None, follow: bool
    ) -> AsyncGenerator[bytes]:
        """Yield what a container has printed, with the time of each line; `follow`: and prints until it ends.

        What is older than the time `since` is left out, and what comes before the last `tail` lines.
        """
        ...


class JobView(Protocol):
    """One Job and its pods as last seen. The view may lag, but a step, an end or a deletion that it shows is true."""

    @property
    def job(self) -> Body | None:
        """The Job, None if it was not seen yet or is gone."""
        ...

    @property
    def last_job(self) -> Body | None:
        """The Job, also after it is gone."""
        ...

    @property
    def pods(self) -> Sequence[Body]:
        """Its pods."""
        ...

    @property
    def deleted_pods(self) -> Sequence[Body]:
        """Pods that were deleted while the view was open, as last seen."""
        ...


class JobCache(Protocol):
    """All Jobs and pods of the engine, as last seen."""

    async def start(self) -> None:
        """Start watching, without waiting for the API server."""
        ...

    async def close(self) -> None:
        """Stop watching."""
        ...

    @property
    def complete(self) -> bool:
        """Whether everything was listed at least once."""
        ...

    def view(self, namespace: str, job_uid: str, on_change: Callable[[], None]) -> AbstractContextManager[JobView]:
        """Open a view of one Job and the pods that it controls, whether they exist yet or not."""
        ...

    def snapshot(self) -> Sequence[tuple[Body, Sequence[Body]]]:
        """Return every Job with the labels of the engine, whoever created it, with the pods that it controls."""
        ...


def retry_delays(longest: float = MAX_DELAY) -> Iterator[float]:
    """Yield the seconds between one try and the next, with jitter."""
    for tries in count():
        yield min(MIN_DELAY * 2 ** min(tries, 10), longest) * random.uniform(1.0, 1.5)  # noqa: S311  # no secret


async def until_answered(client: JobClient, call: Callable[[], Awaitable[T]]) -> T:
    """Repeat the call until it is answered, however long that takes. Raises InfrastructureError if it is refused."""
    for delay in retry_delays():
        try:
            return await call()
        except client.refused as error:
            raise InfrastructureError(Reason.ENGINE_ERROR, f"cannot {error}") from error
        except client.failed as error:
            _log.log(logging.WARNING if delay < MIN_DELAY * 2 else logging.DEBUG, "retrying: %s", error)
        await asyncio.sleep(delay)
    raise AssertionError("retry_delays never ends")

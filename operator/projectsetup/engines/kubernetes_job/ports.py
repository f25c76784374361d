"""What the Job engine needs of the API server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from projectsetup.engines.kubernetes_job.manifest import Manifest

Body = Mapping[str, Any]
"""An object as the API server tells it."""


class JobCluster(Protocol):
    """Calls that are answered from the store and not from a cache.

    As in PEP 249, the errors are told as attributes, since who implements this knows nothing of engines. Every error
    is a `failed`: the call may have been carried out or not. What is `refused` was not, and would not be another time.
    """

    @property
    def failed(self) -> type[Exception]:
        """What every call raises that did not do what it was asked; the text is one clear line."""
        ...

    @property
    def refused(self) -> tuple[type[Exception], ...]:
        """Those of them that waiting does not cure."""
        ...

    @property
    def no_room(self) -> tuple[type[Exception], ...]:
        """Those of the refused that do pass: a quota is exceeded, or the namespace is being deleted."""
        ...

    async def create_or_get(self, namespace: str, manifest: Manifest) -> Body:
        """The Job of that name, which is made when there is none yet."""
        ...

    async def get_job(self, namespace: str, name: str) -> Body | None:
        """One Job, None when there is none of that name."""
        ...

    async def pods_of(self, namespace: str, job_uid: str) -> Sequence[Body]:
        """The pods that the Job with this uid controls."""
        ...

    async def select(self, namespace: str, selector: str) -> tuple[Sequence[Body], Sequence[Body]]:
        """All Jobs of a namespace with these labels, and then all pods with them, whoever made them."""
        ...

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Ask for the deletion of the Job that has this uid, which goes once its pods are gone."""
        ...

    async def warnings_about(self, namespace: str, uids: Sequence[str]) -> Sequence[str]:
        """The texts of the warnings about these objects, the newest first."""
        ...

    def follow_log(self, namespace: str, pod: str, container: str, *, since: float | None) -> AsyncGenerator[bytes]:
        """What a container prints, in pieces, until it ends; without what is older than `since` seconds."""
        ...


class JobView(Protocol):
    """One Job and its pods as they are told, late or never; a step, an end or a deletion that is told is true."""

    @property
    def job(self) -> Body | None:
        """The Job, None when it is not told of yet or has gone."""
        ...

    @property
    def last_job(self) -> Body | None:
        """The Job, also after it has gone."""
        ...

    @property
    def pods(self) -> Sequence[Body]:
        """Its pods."""
        ...

    @property
    def departed_pods(self) -> Sequence[Body]:
        """Pods that went while somebody looked, as they were last told of."""
        ...


class JobBoard(Protocol):
    """What is told of all Jobs and pods of the engine, without being asked for."""

    async def start(self) -> None:
        """Begin to be told."""
        ...

    async def close(self) -> None:
        """End it."""
        ...

    @property
    def complete(self) -> bool:
        """Whether everything was told of at least once."""
        ...

    def view(self, namespace: str, job_uid: str, on_change: Callable[[], None]) -> AbstractContextManager[JobView]:
        """Look at one Job and the pods that it controls, whether they are there yet or not."""
        ...

    def snapshot(self) -> Sequence[tuple[Body, Sequence[Body]]]:
        """Every Job with the labels of the engine, whoever made it, with the pods that it controls."""
        ...

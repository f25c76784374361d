"""The Jobs and pods of all attempts, as the informers last saw them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from kubernetes.aio.client import ApiClient

from projectsetup.api.constants import controller_uid
from projectsetup.kube.client import Body, RestClient
from projectsetup.kube.errors import ClusterError
from projectsetup.kube.informer import CHECK_AFTER, Action, Change, Collection, Informer
from projectsetup.kube.jobs import jobs_path, pods_path, slim_for_cache
from projectsetup.observe.logs import get_logger

JobKey = tuple[str, str]
"""Namespace and uid of a Job."""


class Kind(StrEnum):
    """What is watched."""

    JOBS = "Jobs"
    PODS = "pods"


_log = get_logger("jobs")
_PATHS = {Kind.JOBS: jobs_path, Kind.PODS: pods_path}


class JobCache:
    """Our Jobs and pods in these namespaces (none given: in all), kept up to date from `start` to `close`."""

    def __init__(
        self, streams: ApiClient, namespaces: tuple[str, ...], *, selector: str, check_after: float = CHECK_AFTER
    ) -> None:
        """`selector` is the label selector of our Jobs and pods."""
        client = RestClient(streams)
        self._store = JobStore()
        self._informers = [
            (kind, _informer(client, kind, namespace, selector=selector, check_after=check_after))
            for namespace in namespaces or (None,)
            for kind in Kind
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start watching, without waiting for the API server."""
        self._tasks = [
            asyncio.create_task(self._run(kind, informer), name=f"watch {kind}") for kind, informer in self._informers
        ]

    async def _run(self, kind: Kind, informer: Informer[Body | None]) -> None:
        def store(changes: Sequence[Change[Body | None]]) -> bool:
            for change in changes:
                self._store.apply(kind, change.before, change.after)
            return False

        await informer.run(store)

    async def close(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def complete(self) -> bool:
        """Whether everything was listed at least once."""
        return all(informer.listed for _, informer in self._informers)

    def age(self, kind: Kind) -> float:
        """Seconds since the objects of this kind were last known to be up to date, in the worst namespace."""
        return max(informer.silence() for watched, informer in self._informers if watched is kind)

    def view(self, namespace: str, job_uid: str, on_change: Callable[[], None]) -> AbstractContextManager[JobView]:
        """See `JobStore.view`."""
        return self._store.view(namespace, job_uid, on_change)

    def snapshot(self) -> list[tuple[Body, Sequence[Body]]]:
        """Return every Job with the pods that it controls."""
        return self._store.snapshot()


def _informer(
    client: RestClient, kind: Kind, namespace: str | None, *, selector: str, check_after: float
) -> Informer[Body | None]:
    def keep(body: Body) -> Body | None:
        return slim_for_cache(body) if _job_key(kind, body) else None

    def log(action: Action, error: ClusterError) -> None:
        _log.warning(f"cannot {action} {title}; retrying", error=str(error))

    title = kind if namespace is None else f"{kind} in {namespace}"
    collection = Collection(title, _PATHS[kind](namespace), {"labelSelector": selector})
    return Informer(client, collection, keep=keep, on_error=log, check_after=check_after)


def _by_kind() -> dict[Kind, dict[str, Body]]:
    return {kind: {} for kind in Kind}


@dataclass(slots=True)
class JobView:
    """One Job and its pods, live; what is deleted while the view is open stays available as it was last seen."""

    present: dict[Kind, dict[str, Body]] = field(default_factory=_by_kind)
    deleted: dict[Kind, dict[str, Body]] = field(default_factory=_by_kind)
    listeners: list[Callable[[], None]] = field(default_factory=list)

    @property
    def job(self) -> Body | None:
        """The Job, None when it was not seen yet or is deleted."""
        return next(iter(self.present[Kind.JOBS].values()), None)

    @property
    def last_job(self) -> Body | None:
        """The Job, also after its deletion."""
        return self.job or next(iter(self.deleted[Kind.JOBS].values()), None)

    @property
    def pods(self) -> Sequence[Body]:
        """Its pods."""
        return list(self.present[Kind.PODS].values())

    @property
    def deleted_pods(self) -> Sequence[Body]:
        """Its deleted pods."""
        return list(self.deleted[Kind.PODS].values())

    @property
    def is_unused(self) -> bool:
        """Whether the view is empty and not open."""
        return not (self.listeners or any(self.present.values()))


class JobStore:
    """Jobs and pods by the uid of the Job, and the listeners of each."""

    def __init__(self) -> None:
        self._views: dict[JobKey, JobView] = {}

    @contextmanager
    def view(self, namespace: str, job_uid: str, on_change: Callable[[], None]) -> Iterator[JobView]:
        """Open a view of one Job and the pods that it controls, whether they exist yet or not.

        `on_change` is called after each change of the Job or of one of these pods.
        """
        key = (namespace, job_uid)
        view = self._views.setdefault(key, JobView())
        view.listeners.append(on_change)
        try:
            yield view
        finally:
            view.listeners.remove(on_change)
            if not view.listeners:
                view.deleted = _by_kind()
            self._drop_unused(key)

    def snapshot(self) -> list[tuple[Body, Sequence[Body]]]:
        """Return every Job with the pods that it controls."""
        return [(view.job, view.pods) for view in self._views.values() if view.job is not None]

    def apply(self, kind: Kind, before: Body | None, after: Body | None) -> None:
        """Take in a change of one object; None: it does not exist, or is no pod of a Job."""
        if before is not None and (after is None or _job_key(kind, before) != _job_key(kind, after)):
            self.remove(kind, before)
        if after is not None:
            self.put(kind, after)

    def put(self, kind: Kind, body: Body) -> None:
        """Take in a new object, or a new version of one."""
        if (key := _job_key(kind, body)) is not None:
            view = self._views.setdefault(key, JobView())
            view.present[kind][body["metadata"]["name"]] = body
            _notify(view)

    def remove(self, kind: Kind, body: Body) -> None:
        """Take in the deletion of an object; `body` is its last known state."""
        key = _job_key(kind, body)
        view = self._views.get(key) if key is not None else None
        if key is None or view is None:
            return
        view.present[kind].pop(body["metadata"]["name"], None)
        if view.listeners:
            view.deleted[kind][body["metadata"]["name"]] = body
        _notify(view)
        self._drop_unused(key)

    def _drop_unused(self, key: JobKey) -> None:
        if key in self._views and self._views[key].is_unused:
            del self._views[key]


def _job_key(kind: Kind, body: Body) -> JobKey | None:
    metadata = body["metadata"]
    uid = metadata["uid"] if kind is Kind.JOBS else controller_uid(body)
    return (metadata["namespace"], uid) if uid else None


def _notify(view: JobView) -> None:
    for listener in list(view.listeners):
        listener()

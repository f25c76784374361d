"""What the watches have told of Jobs and their pods, and who wants to know of changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from projectsetup.api.constants import controller_uid
from projectsetup.kube.job_bodies import Body, small, version_of

JobKey = tuple[str, str]
"""Namespace and uid of a Job."""


class Kind(StrEnum):
    """What is watched."""

    JOBS = "Jobs"
    PODS = "pods"


def _none_yet() -> dict[Kind, dict[str, Body]]:
    return {kind: {} for kind in Kind}


@dataclass(slots=True)
class JobView:
    """One Job and its pods as they are told; what has gone while somebody looked stays as it was last seen."""

    present: dict[Kind, dict[str, Body]] = field(default_factory=_none_yet)
    departed: dict[Kind, dict[str, Body]] = field(default_factory=_none_yet)
    listeners: list[Callable[[], None]] = field(default_factory=list)

    @property
    def job(self) -> Body | None:
        """The Job, None when it is not told of yet or has gone."""
        return next(iter(self.present[Kind.JOBS].values()), None)

    @property
    def last_job(self) -> Body | None:
        """The Job, also after it has gone."""
        return self.job or next(iter(self.departed[Kind.JOBS].values()), None)

    @property
    def pods(self) -> Sequence[Body]:
        """Its pods."""
        return list(self.present[Kind.PODS].values())

    @property
    def departed_pods(self) -> Sequence[Body]:
        """Pods that have gone."""
        return list(self.departed[Kind.PODS].values())

    @property
    def of_no_interest(self) -> bool:
        """There is nothing to be seen and nobody who looks."""
        return not (self.listeners or any(self.present.values()))


class JobStore:
    """All Jobs and pods that are told of; those who look at one are called back when something of it changes."""

    def __init__(self) -> None:
        self._views: dict[JobKey, JobView] = {}

    @contextmanager
    def view(self, namespace: str, job_uid: str, on_change: Callable[[], None]) -> Iterator[JobView]:
        """Look at one Job and the pods that it controls, whether they are there yet or not."""
        key = (namespace, job_uid)
        view = self._views.setdefault(key, JobView())
        view.listeners.append(on_change)
        try:
            yield view
        finally:
            view.listeners.remove(on_change)
            if not view.listeners:
                view.departed = _none_yet()
            self._tidy(key)

    def snapshot(self) -> list[tuple[Body, Sequence[Body]]]:
        """Every Job with its pods."""
        return [(view.job, view.pods) for view in self._views.values() if view.job is not None]

    def put(self, kind: Kind, body: Body) -> None:
        """There is a new object, or another version of one."""
        key = _key(kind, body)
        if key is None:
            return
        view = self._views.setdefault(key, JobView())
        name = body["metadata"]["name"]
        before = view.present[kind].get(name)
        if before is None or version_of(before) != version_of(body):
            view.present[kind][name] = small(body)
            _tell(view)

    def remove(self, kind: Kind, body: Body) -> None:
        """An object has gone; `body` is the last that was seen of it."""
        key = _key(kind, body)
        view = self._views.get(key) if key is not None else None
        if key is None or view is None:
            return
        view.present[kind].pop(body["metadata"]["name"], None)
        if view.listeners:
            view.departed[kind][body["metadata"]["name"]] = small(body)
        _tell(view)
        self._tidy(key)

    def replace(self, kind: Kind, namespace: str | None, bodies: Sequence[Body]) -> None:
        """These are all there are in this namespace; None: in all."""
        known = set(map(_identity, bodies))
        for body in self._all(kind, namespace):
            if _identity(body) not in known:
                self.remove(kind, body)
        for body in bodies:
            self.put(kind, body)

    def agrees(self, kind: Kind, namespace: str | None, bodies: Sequence[Body]) -> bool:
        """Whether the same versions of all these were told of, and of no others; their metadata is enough."""
        ours = [body for body in bodies if _key(kind, body) is not None]
        return _versions(ours) == _versions(self._all(kind, namespace))

    def _all(self, kind: Kind, namespace: str | None) -> list[Body]:
        return [
            body
            for (found_in, _), view in self._views.items()
            if namespace in {None, found_in}
            for body in view.present[kind].values()
        ]

    def _tidy(self, key: JobKey) -> None:
        if key in self._views and self._views[key].of_no_interest:
            del self._views[key]


def _key(kind: Kind, body: Body) -> JobKey | None:
    metadata = body["metadata"]
    uid = metadata["uid"] if kind is Kind.JOBS else controller_uid(body)
    return (metadata["namespace"], uid) if uid else None


def _identity(body: Body) -> JobKey:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _versions(bodies: Iterable[Body]) -> dict[JobKey, str]:
    return {_identity(body): version_of(body) for body in bodies}


def _tell(view: JobView) -> None:
    for listener in list(view.listeners):
        listener()

"""The ProjectSetups as last seen, by watch, list or own write, newest first come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.control.queue import Key


@dataclass(frozen=True, slots=True)
class Departed:
    """A ProjectSetup that is no more; what it owned must be stopped and freed."""

    uid: str
    key: Key


@dataclass(frozen=True, slots=True)
class Change:
    """What one look at the API server changed here."""

    key: Key
    departed: Departed | None = None


class ResourceStore:
    """A cache that never goes back: an older resourceVersion of the same object changes nothing."""

    def __init__(self) -> None:
        self._resources: dict[Key, ProjectSetupResource] = {}

    def get(self, key: Key) -> ProjectSetupResource | None:
        """The resource as last seen."""
        return self._resources.get(key)

    def holds(self, uid: str) -> bool:
        """Whether the resource with this uid is there, as far as was seen."""
        return any(resource.uid == uid for resource in self._resources.values())

    def __iter__(self) -> Iterator[ProjectSetupResource]:
        return iter(list(self._resources.values()))

    def __len__(self) -> int:
        return len(self._resources)

    def apply(self, body: Mapping[str, Any]) -> Change | None:
        """Take in an object that was seen; None when it tells nothing new."""
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        known = self._resources.get(key)
        version = int(metadata["resourceVersion"])
        if known is not None and version <= int(known.resource_version):
            return None
        self._resources[key] = parse_resource(body)
        replaced = known is not None and known.uid != metadata["uid"]
        return Change(key, Departed(known.uid, key) if known is not None and replaced else None)

    def remove(self, key: Key, *, uid: str) -> Change | None:
        """Forget an object that was deleted; None when it was not known."""
        known = self._resources.get(key)
        if known is None or known.uid != uid:
            return None
        del self._resources[key]
        return Change(key, Departed(uid, key))

    def compare(self, listed: list[dict[str, Any]], *, list_version: int) -> list[Change]:
        """Take in a full list: what it has and we do not, and what we have and it no longer has."""
        changes = [change for body in listed if (change := self.apply(body)) is not None]
        there = {(body["metadata"]["namespace"], body["metadata"]["name"]) for body in listed}
        for resource in self:
            if resource.key not in there and int(resource.resource_version) <= list_version:
                change = self.remove(resource.key, uid=resource.uid)
                changes += [change] if change else []
        return changes

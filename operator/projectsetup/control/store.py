"""The ProjectSetups as last seen, by watch, list or own write, newest first come."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from projectsetup.api.conditions import SUCCEEDED
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


@dataclass(frozen=True, slots=True)
class _Kept:
    uid: str
    version: int
    content: ProjectSetupResource | bytes
    """Packed when its setup is over: most are, and are hardly ever asked for."""


class ResourceStore:
    """A cache that never goes back: an older resourceVersion of the same object changes nothing."""

    def __init__(self) -> None:
        self._kept: dict[Key, _Kept] = {}

    def get(self, key: Key) -> ProjectSetupResource | None:
        """The resource as last seen."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        content = kept.content
        return parse_resource(json.loads(zlib.decompress(content))) if isinstance(content, bytes) else content

    def holds(self, uid: str) -> bool:
        """Whether the resource with this uid is there, as far as was seen."""
        return any(kept.uid == uid for kept in self._kept.values())

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._kept))

    def unfinished(self) -> Iterator[ProjectSetupResource]:
        """The resources whose setup is not over."""
        return iter([kept.content for kept in self._kept.values() if isinstance(kept.content, ProjectSetupResource)])

    def __len__(self) -> int:
        return len(self._kept)

    def apply(self, body: Mapping[str, Any]) -> Change | None:
        """Take in an object that was seen; None when it tells nothing new."""
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        known = self._kept.get(key)
        version = int(metadata["resourceVersion"])
        if known is not None and version <= known.version:
            return None
        self._kept[key] = _Kept(metadata["uid"], version, _packed(body) if _is_over(body) else parse_resource(body))
        replaced = known is not None and known.uid != metadata["uid"]
        return Change(key, Departed(known.uid, key) if known is not None and replaced else None)

    def has_seen(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the object with this metadata, or a newer one of that key, was taken in."""
        known = self._kept.get((metadata["namespace"], metadata["name"]))
        return known is not None and int(metadata["resourceVersion"]) <= known.version

    def remove(self, key: Key, *, uid: str) -> Change | None:
        """Forget an object that was deleted; None when it was not known."""
        known = self._kept.get(key)
        if known is None or known.uid != uid:
            return None
        del self._kept[key]
        return Change(key, Departed(uid, key))

    def keep(self, uids: Collection[str], *, list_version: int) -> list[Change]:
        """Forget what a full list of this version no longer has: it has these."""
        gone = [(key, kept.uid) for key, kept in self._kept.items() if kept.uid not in uids]
        removed = [self.remove(key, uid=uid) for key, uid in gone if self._kept[key].version <= list_version]
        return [change for change in removed if change is not None]


def _is_over(body: Mapping[str, Any]) -> bool:
    status = body.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    return isinstance(conditions, list) and any(
        condition.get("type") == SUCCEEDED and condition.get("status") in {"True", "False"}
        for condition in conditions
        if isinstance(condition, Mapping)
    )


def _packed(body: Mapping[str, Any]) -> bytes:
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return zlib.compress(json.dumps({**body, "metadata": metadata}).encode(), level=1)

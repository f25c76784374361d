"""The ProjectSetups as last seen, whether by watch, by list or by a write of our own."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from projectsetup.api.models import ProjectSetupResource, essence, parse_project_id, parse_resource
from projectsetup.api.status import SUCCEEDED
from projectsetup.controller.workqueue import Key

LARGEST_KEPT: Final = 16_384
"""Largest packed resource in bytes that the cache keeps; most take 1,000. A larger one is read again when needed."""

LARGEST_PACKED: Final = 16 * LARGEST_KEPT
"""A larger resource in bytes is not even packed."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deleted ProjectSetup, whose attempt must be stopped and whose project must be released."""

    uid: str
    key: Key


@dataclass(frozen=True, slots=True)
class Change:
    """What an observation changed in the cache."""

    key: Key
    deleted: Deleted | None = None


@dataclass(frozen=True, slots=True)
class Packed:
    """A ProjectSetup as the cache keeps it, compressed: 10,000 of the largest must not fill the operator's memory."""

    key: Key
    uid: str
    version: int
    is_over: bool
    suspended: bool
    """It is suspended, and `.status` reports no run."""
    run_name: str | None
    """The run that `.status` reports."""
    content: bytes | None
    """None if it is too large to keep."""

    @property
    def project_id(self) -> UUID:
        """The project that it sets up."""
        return parse_project_id(self.key[1])


def pack(body: Mapping[str, Any]) -> Packed:
    """Pack an object as the API server returned it."""
    metadata = body["metadata"]
    spec, status = _mapping(body.get("spec")), _mapping(body.get("status"))
    run_name = _mapping(status.get("runRef")).get("name")
    text = json.dumps(essence(body)).encode()
    content = zlib.compress(text, level=1) if len(text) <= LARGEST_PACKED else None
    return Packed(
        key=(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        is_over=_is_over(status),
        suspended=spec.get("suspend") is True and run_name is None,
        run_name=run_name,
        content=content if content is not None and len(content) <= LARGEST_KEPT else None,
    )


class ResourceCache:
    """Never goes back in time: an older resourceVersion of the same object changes nothing."""

    def __init__(self) -> None:
        self._entries: dict[Key, Packed] = {}

    def get(self, key: Key) -> ProjectSetupResource | None:
        """The resource as last seen; None if there is none, or if it is too large to keep."""
        entry = self._entries.get(key)
        if entry is None or entry.content is None:
            return None
        return parse_resource(json.loads(zlib.decompress(entry.content)))

    def entry(self, key: Key) -> Packed | None:
        """The packed resource as last seen; None if there is none."""
        return self._entries.get(key)

    def uid(self, key: Key) -> str | None:
        """The uid of the resource as last seen; None if there is none."""
        entry = self._entries.get(key)
        return None if entry is None else entry.uid

    def has_uid(self, uid: str) -> bool:
        """Whether the cache has the resource with this uid."""
        return any(entry.uid == uid for entry in self._entries.values())

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._entries))

    def unfinished(self) -> list[Packed]:
        """The resources whose setup has not ended."""
        return [entry for entry in self._entries.values() if not entry.is_over]

    def __len__(self) -> int:
        return len(self._entries)

    def apply(self, seen: Packed) -> Change | None:
        """Store an object that was seen; None if it is not newer."""
        key = seen.key
        known = self._entries.get(key)
        if known is not None and seen.version <= known.version:
            return None
        self._entries[key] = seen
        replaced = known is not None and known.uid != seen.uid
        return Change(key, Deleted(known.uid, key) if known is not None and replaced else None)

    def has_seen(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the cache has the object with this metadata, or a newer one at that key."""
        known = self._entries.get((metadata["namespace"], metadata["name"]))
        return known is not None and int(metadata["resourceVersion"]) <= known.version

    def remove(self, key: Key, *, uid: str) -> Change | None:
        """Remove a deleted object; None if the cache did not have it."""
        known = self._entries.get(key)
        if known is None or known.uid != uid:
            return None
        del self._entries[key]
        return Change(key, Deleted(uid, key))

    def retain(self, uids: Collection[str], *, list_version: int) -> list[Change]:
        """Remove what a full list of this version, which had these `uids`, no longer has."""
        gone = [(key, entry.uid) for key, entry in self._entries.items() if entry.uid not in uids]
        removed = [self.remove(key, uid=uid) for key, uid in gone if self._entries[key].version <= list_version]
        return [change for change in removed if change is not None]


def _is_over(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions")
    return isinstance(conditions, list) and any(
        condition.get("type") == SUCCEEDED and condition.get("status") in {"True", "False"}
        for condition in conditions
        if isinstance(condition, Mapping)
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

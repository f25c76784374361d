"""The ProjectSetups as last seen, by watch, list or own write, newest first come."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from projectsetup.api.models import ProjectSetupResource, essence, parse_project_id, parse_resource
from projectsetup.api.status import SUCCEEDED
from projectsetup.controller.queue import Key

LARGEST_KEPT: Final = 16_384
"""Bytes of one packed resource that are kept; most take 1,000. A larger one is read again when it is needed."""

LARGEST_PACKED: Final = 16 * LARGEST_KEPT
"""Bytes beyond which it is not tried."""


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
class Packed:
    """A ProjectSetup as it is kept: whoever makes 10,000 of the largest must not fill the operator's memory."""

    key: Key
    uid: str
    version: int
    over: bool
    suspended: bool
    """It is suspended, and `.status` tells of no run."""
    run_name: str | None
    """What `.status` tells as running."""
    content: bytes | None
    """None when it is too large to be kept."""

    @property
    def project_id(self) -> UUID:
        """The project that it sets up."""
        return parse_project_id(self.key[1])


def pack(body: Mapping[str, Any]) -> Packed:
    """What is kept of an object that was seen."""
    metadata = body["metadata"]
    spec, status = _mapping(body.get("spec")), _mapping(body.get("status"))
    run_name = _mapping(status.get("runRef")).get("name")
    text = json.dumps(essence(body)).encode()
    content = zlib.compress(text, level=1) if len(text) <= LARGEST_PACKED else None
    return Packed(
        key=(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        over=_is_over(status),
        suspended=spec.get("suspend") is True and run_name is None,
        run_name=run_name,
        content=content if content is not None and len(content) <= LARGEST_KEPT else None,
    )


class ResourceStore:
    """A cache that never goes back: an older resourceVersion of the same object changes nothing."""

    def __init__(self) -> None:
        self._kept: dict[Key, Packed] = {}

    def get(self, key: Key) -> ProjectSetupResource | None:
        """The resource as last seen; None when there is none, or when it is too large to be kept."""
        kept = self._kept.get(key)
        if kept is None or kept.content is None:
            return None
        return parse_resource(json.loads(zlib.decompress(kept.content)))

    def kept(self, key: Key) -> Packed | None:
        """What is kept of the resource as last seen; None when there is none."""
        return self._kept.get(key)

    def uid(self, key: Key) -> str | None:
        """The uid of what was last seen there; None when there is nothing."""
        kept = self._kept.get(key)
        return None if kept is None else kept.uid

    def holds(self, uid: str) -> bool:
        """Whether the resource with this uid is there, as far as was seen."""
        return any(kept.uid == uid for kept in self._kept.values())

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._kept))

    def unfinished(self) -> list[Packed]:
        """The resources whose setup is not over."""
        return [kept for kept in self._kept.values() if not kept.over]

    def __len__(self) -> int:
        return len(self._kept)

    def apply(self, seen: Packed) -> Change | None:
        """Take in an object that was seen; None when it tells nothing new."""
        key = seen.key
        known = self._kept.get(key)
        if known is not None and seen.version <= known.version:
            return None
        self._kept[key] = seen
        replaced = known is not None and known.uid != seen.uid
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


def _is_over(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions")
    return isinstance(conditions, list) and any(
        condition.get("type") == SUCCEEDED and condition.get("status") in {"True", "False"}
        for condition in conditions
        if isinstance(condition, Mapping)
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

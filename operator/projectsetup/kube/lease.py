"""The Lease that only one operator holds: read, take and give back, guarded by resourceVersion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubernetes.aio.client import ApiClient, CustomObjectsApi

from projectsetup.kube.errors import ApiNotFound
from projectsetup.kube.translate import translated

LEASE_GROUP, LEASE_VERSION = "coordination.k8s.io", "v1"
LEASE_NAME = "projectsetup-operator"


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A Lease as it is stored; `holder` is empty when it was released."""

    holder: str
    resource_version: str
    transitions: int
    acquired_at: str


class LeaseClient:
    """One Lease in one namespace; every error is a `ClusterError`, ApiConflict when somebody else was faster."""

    def __init__(self, api: ApiClient, namespace: str, *, duration: int, timeout: float) -> None:
        self._api = CustomObjectsApi(api)
        self._namespace = namespace
        self._leases = (LEASE_GROUP, LEASE_VERSION, namespace, "leases")
        self._duration = duration
        self._timeout = timeout

    async def read(self) -> LeaseRecord | None:
        """The Lease, None when nobody has made it yet."""
        try:
            with translated(f"read Lease {self._namespace}/{LEASE_NAME}"):
                lease = await self._api.get_namespaced_custom_object(
                    *self._leases, LEASE_NAME, _request_timeout=self._timeout
                )
        except ApiNotFound:
            return None
        return _record(lease)

    async def create(self, holder: str) -> LeaseRecord:
        """Make the Lease and hold it."""
        body = self._body(holder, resource_version=None, transitions=0, acquired_at=_now())
        with translated(f"create Lease {self._namespace}/{LEASE_NAME}"):
            lease = await self._api.create_namespaced_custom_object(*self._leases, body, _request_timeout=self._timeout)
        return _record(lease)

    async def write(self, holder: str, seen: LeaseRecord) -> LeaseRecord:
        """Take, renew or (holder "") release the Lease, if it is still as `seen`."""
        moved = bool(holder) and holder != seen.holder
        body = self._body(
            holder,
            resource_version=seen.resource_version,
            transitions=seen.transitions + int(moved),
            acquired_at=_now() if moved else seen.acquired_at,
        )
        with translated(f"write Lease {self._namespace}/{LEASE_NAME}"):
            lease = await self._api.replace_namespaced_custom_object(
                *self._leases, LEASE_NAME, body, _request_timeout=self._timeout
            )
        return _record(lease)

    def _body(self, holder: str, *, resource_version: str | None, transitions: int, acquired_at: str) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": LEASE_NAME, "namespace": self._namespace}
        if resource_version is not None:
            metadata["resourceVersion"] = resource_version
        return {
            "apiVersion": f"{LEASE_GROUP}/{LEASE_VERSION}",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": self._duration,
                "acquireTime": acquired_at,
                "renewTime": _now(),
                "leaseTransitions": transitions,
            },
        }


def _record(lease: Any) -> LeaseRecord:
    spec = lease["spec"]
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        resource_version=lease["metadata"]["resourceVersion"],
        transitions=spec.get("leaseTransitions") or 0,
        acquired_at=spec.get("acquireTime") or _now(),
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""The Lease that only one operator holds: its record, its client, who may take it, and who is who."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubernetes.aio.client import ApiClient, CustomObjectsApi

from projectsetup.kube.client import translated
from projectsetup.kube.connection import in_pod
from projectsetup.kube.errors import ApiNotFound

LEASE_GROUP, LEASE_VERSION = "coordination.k8s.io", "v1"
LEASE_NAME = "projectsetup-operator"
LEASE_DURATION = 30
"""Seconds after which a Lease that was not renewed may be taken."""
DYING = 2.0
"""Seconds within which all processes of a dead operator end (section 8 of the contract)."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A Lease as it is stored; `holder` is empty when it was released."""

    holder: str
    resource_version: str
    transitions: int
    acquired_at: str


class LeaseClient:
    """One Lease in one namespace; every error is a `ClusterError`, ApiConflict when another operator was faster."""

    def __init__(self, api: ApiClient, namespace: str, *, duration: int, timeout: float) -> None:
        self._api = CustomObjectsApi(api)
        self._namespace = namespace
        self._leases = (LEASE_GROUP, LEASE_VERSION, namespace, "leases")
        self._duration = duration
        self._timeout = timeout

    async def read(self) -> LeaseRecord | None:
        """Return the Lease, or None when it does not exist yet."""
        try:
            with translated(f"read Lease {self._namespace}/{LEASE_NAME}"):
                lease = await self._api.get_namespaced_custom_object(
                    *self._leases, LEASE_NAME, _request_timeout=self._timeout
                )
        except ApiNotFound:
            return None
        return _record(lease)

    async def create(self, holder: str) -> LeaseRecord:
        """Create the Lease and hold it."""
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


class LeaseObserver:
    """Tells a standby when it may take the Lease, from its own clock alone.

    It remembers since when the Lease has not changed, and since when its holder is known to be dead.
    """

    def __init__(self, identity: str, is_dead: Callable[[str], bool]) -> None:
        self._identity = identity
        self._is_dead = is_dead
        self._seen: LeaseRecord | None = None
        self._unchanged_since = float("inf")
        self._dead_since = float("inf")

    def is_free(self, current: LeaseRecord | None, *, requested_at: float, answered_at: float) -> bool:
        """Return whether `current`, read between these two times, may be taken.

        A Lease that has changed may be as young as the answer; one that has not existed already at the request.
        """
        if current is None or current.holder in {"", self._identity}:
            return True
        if self._seen is None or current.resource_version != self._seen.resource_version:
            self._seen, self._unchanged_since, self._dead_since = current, answered_at, float("inf")
        if self._is_dead(current.holder):
            self._dead_since = min(self._dead_since, requested_at)
        return requested_at - self._unchanged_since >= LEASE_DURATION or requested_at - self._dead_since >= DYING


def own_identity() -> str:
    """Return the name under which this process holds the Lease.

    In a pod it is the pod's name, so that a restarted container takes the Lease back at once. Elsewhere it identifies
    the process and the boot of the machine, so that the next operator there sees that the holder is dead and need not
    wait for the Lease to expire.
    """
    if in_pod():
        return socket.gethostname()
    return f"{_machine()}.{os.getpid()}.{_start_time(os.getpid())}"


def is_dead(holder: str) -> bool:
    """Return whether `holder` is a process of this machine that has certainly ended."""
    machine, dot, process = holder.rpartition(".")
    machine, dot_before, pid = machine.rpartition(".")
    if in_pod() or not (dot and dot_before) or machine != _machine() or not pid.isdigit():
        return False
    return _start_time(int(pid)) != process


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    process_ids = Path("/proc/self/ns/pid").stat().st_ino
    return f"{socket.gethostname()}.{boot}.{process_ids}"


def _start_time(pid: int) -> str | None:
    """Return when the process began, in clock ticks after boot (proc(5), field 22); None if it ended or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]

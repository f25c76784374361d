"""Writes `.status` and posts events; every message is scrubbed of secrets first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from projectsetup.api.models import ProjectSetupResource, ProjectSetupStatus, status_to_dict, stored_status
from projectsetup.controller.cache import ResourceCache, pack
from projectsetup.controller.events import Event
from projectsetup.controller.metrics import count_changes
from projectsetup.controller.ports import Cluster
from projectsetup.kube.errors import ClusterError
from projectsetup.kube.leader import Leader
from projectsetup.observe.logs import about_setup, get_logger
from projectsetup.observe.metrics import Metrics

_log = get_logger("reconciler")


@dataclass(slots=True)
class StatusWriter:
    """`scrub` removes secrets from a text. Only the leader writes: LeaseLost if this operator no longer leads."""

    cluster: Cluster
    cache: ResourceCache
    leader: Leader
    metrics: Metrics
    scrub: Callable[[str], str]

    async def write(
        self, resource: ProjectSetupResource, status: ProjectSetupStatus, events: tuple[Event, ...]
    ) -> bool:
        """Replace `.status` and count what changed; False if it was up to date. Raises ClusterError."""
        new = self._scrubbed(status_to_dict(status))
        if new == stored_status(resource.status):
            return False
        self.leader.check()
        stored = await self.cluster.replace_status(
            resource.namespace, resource.name, resource_version=resource.resource_version, status=new
        )
        self.cache.apply(pack(stored))
        count_changes(self.metrics, resource.status, status, events)
        return True

    def log(self, resource: ProjectSetupResource, status: ProjectSetupStatus, *events: Event) -> None:
        """Log the events."""
        for event in events:
            with about_setup(resource.key, attempt=status.attempt, step=status.step):
                _log.info(event.message, reason=str(event.reason))

    async def post(self, resource: ProjectSetupResource, status: ProjectSetupStatus, events: tuple[Event, ...]) -> None:
        """Post the events, which begin with the project's name; a rejected one is only logged."""
        about = f"project {status.project_name}: " if status.project_name else ""
        for event in events:
            with about_setup(resource.key, attempt=status.attempt, step=status.step):
                try:
                    await self.cluster.post_event(
                        namespace=resource.namespace,
                        name=resource.name,
                        uid=resource.uid,
                        reason=str(event.reason),
                        message=self.scrub(about + event.message),
                        warning=event.warning,
                        reporter=self.leader.identity,
                    )
                except ClusterError as error:
                    _log.warning("cannot post an event", error=str(error))

    def _scrubbed(self, value: Any) -> Any:
        """Scrub every message in `value`; the rest is either the operator's own or must stay as the user wrote it."""
        if isinstance(value, list):
            return [self._scrubbed(part) for part in value]
        if not isinstance(value, dict):
            return value
        return {name: self.scrub(part) if name == "message" else self._scrubbed(part) for name, part in value.items()}

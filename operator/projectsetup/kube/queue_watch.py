"""The watch on the queue's ConfigMap, apart from `queue_config` because only the operator needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubernetes.aio.client import ApiClient

from projectsetup.kube.client import RestClient
from projectsetup.kube.errors import ApiForbidden, ClusterError
from projectsetup.kube.informer import Action, Change, Collection, Informer
from projectsetup.kube.queue_config import (
    CONFIG_MAP,
    NEVER_READ,
    Data,
    QueueControl,
    config_map_data,
    config_maps_path,
    parse_queue_control,
)
from projectsetup.observe.logs import get_logger

MAX_RETRY_DELAY = 2.0
"""Seconds: no attempt starts before the ConfigMap was read."""

_log = get_logger("queue")


class QueueConfigWatch:
    """Calls `on_change` with the settings, at first and whenever the ConfigMap changes, appears or disappears.

    An invalid value leaves its setting as it was.
    """

    def __init__(self, api: ApiClient, namespace: str, *, on_change: Callable[[QueueControl], None]) -> None:
        self._on_change = on_change
        self._last = NEVER_READ
        self._informer = Informer(
            RestClient(api),
            Collection(
                f"ConfigMap {namespace}/{CONFIG_MAP}",
                config_maps_path(namespace),
                {"fieldSelector": f"metadata.name={CONFIG_MAP}"},
            ),
            keep=config_map_data,
            on_error=self._failed,
            max_retry_delay=MAX_RETRY_DELAY,
        )

    def silence(self) -> float:
        """Seconds since the settings were last known to be up to date."""
        return self._informer.silence()

    async def run(self) -> None:
        """Watch for ever."""
        await self._informer.run(self._changed)

    def _changed(self, _: Sequence[Change[Data | None]]) -> bool:
        self._apply(next(iter(self._informer.objects.values()), None))
        return False

    def _failed(self, action: Action, error: ClusterError) -> None:
        _log.warning(f"cannot {action} the queue's ConfigMap; retrying", error=str(error))
        if action is Action.LIST and isinstance(error, ApiForbidden):  # an operator without this right still works
            self._apply(None)

    def _apply(self, data: Data | None) -> None:
        control, problem = parse_queue_control(data, self._last)
        if control.unknown:
            _log.warning("invalid entries in the queue's ConfigMap; starting nothing until corrected", problem=problem)
        elif problem:
            _log.warning("invalid entries in the queue's ConfigMap; keeping the last valid values", problem=problem)
        self._last = control
        self._on_change(control)

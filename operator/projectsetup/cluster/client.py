"""All calls to the API server that the operator makes for ProjectSetups; every error is a `ClusterError`."""

from __future__ import annotations

from typing import Any

from kubernetes.aio.client import ApiClient, CoreV1Api, CustomObjectsApi

from projectsetup.api.constants import GROUP, PLURAL, VERSION
from projectsetup.cluster.errors import ApiNotFound
from projectsetup.cluster.events import EventRecorder, SetupEvent
from projectsetup.cluster.translate import translated

TIMEOUT = 10.0
"""Seconds that a call may take; kubernetes' own default is five minutes."""

FIELD_MANAGER = "projectsetup-operator"
PAGE = 500

Body = dict[str, Any]


class ClusterClient:
    """Reads ProjectSetups, writes their status, leaves events, reads Secrets."""

    def __init__(self, api: ApiClient) -> None:
        self._objects = CustomObjectsApi(api)
        self._core = CoreV1Api(api)
        self._events = EventRecorder(api, controller=FIELD_MANAGER, timeout=TIMEOUT)

    async def list_resources(self, namespaces: tuple[str, ...]) -> tuple[list[Body], int]:
        """All ProjectSetups of these namespaces (none given: of all), read from the store and not from a cache.

        The second value is the resourceVersion of the list, the least where several namespaces were listed.
        """
        lists = [await self._list(namespace) for namespace in namespaces or (None,)]
        return [body for listed, _ in lists for body in listed], min(version for _, version in lists)

    async def _list(self, namespace: str | None) -> tuple[list[Body], int]:
        found: list[Body] = []
        token: str | None = None
        while True:
            with translated("list ProjectSetups"):
                options: Body = {"limit": PAGE, "_continue": token, "_request_timeout": TIMEOUT}
                if namespace is None:
                    page: Any = await self._objects.list_cluster_custom_object(GROUP, VERSION, PLURAL, **options)
                else:
                    page = await self._objects.list_namespaced_custom_object(
                        GROUP, VERSION, namespace, PLURAL, **options
                    )
            found += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return found, int(page["metadata"]["resourceVersion"])

    async def get_resource(self, namespace: str, name: str) -> Body | None:
        """One ProjectSetup, None when there is none of that name."""
        try:
            with translated(f"get ProjectSetup {namespace}/{name}"):
                found: Any = await self._objects.get_namespaced_custom_object(
                    GROUP, VERSION, namespace, PLURAL, name, _request_timeout=TIMEOUT
                )
        except ApiNotFound:
            return None
        return dict(found)

    async def patch_status(self, namespace: str, name: str, *, resource_version: str, status: Body) -> Body:
        """Merge `status` into the ProjectSetup's, if it still has this resourceVersion (else ApiConflict).

        Answers the object as it is stored now.
        """
        with translated(f"write status of ProjectSetup {namespace}/{name}"):
            stored: Any = await self._objects.patch_namespaced_custom_object_status(
                GROUP,
                VERSION,
                namespace,
                PLURAL,
                name,
                {"metadata": {"resourceVersion": resource_version}, "status": status},
                field_manager=FIELD_MANAGER,
                _content_type="application/merge-patch+json",
                _request_timeout=TIMEOUT,
            )
        return dict(stored)

    async def post_event(
        self, *, namespace: str, name: str, uid: str, reason: str, message: str, warning: bool, reporter: str
    ) -> None:
        """Leave an event on a ProjectSetup; the same one told again counts up."""
        await self._events.tell(SetupEvent(namespace, name, uid, reason, message, warning, reporter))

    async def get_secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """The base64 data of a Secret, None when there is none of that name."""
        try:
            with translated(f"get Secret {namespace}/{name}"):
                secret = await self._core.read_namespaced_secret(name, namespace, _request_timeout=TIMEOUT)
        except ApiNotFound:
            return None
        return {name: str(value) for name, value in (secret.data or {}).items()}

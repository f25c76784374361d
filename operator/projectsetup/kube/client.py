"""All calls to the API server that the operator makes for ProjectSetups; every error is a `ClusterError`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from kubernetes.aio.client import ApiClient

from projectsetup.api.constants import API_VERSION, KIND
from projectsetup.kube.errors import ApiNotFound
from projectsetup.kube.events import EventRecorder, SetupEvent
from projectsetup.kube.paths import setups_path
from projectsetup.kube.raw import RawApi

FIELD_MANAGER = "projectsetup-operator"
PAGE, METADATA_PAGE = 100, 500

Body = dict[str, Any]


class ClusterClient:
    """Reads ProjectSetups, writes their status, leaves events, reads Secrets."""

    def __init__(self, api: ApiClient) -> None:
        self._api = RawApi(api)
        self._events = EventRecorder(self._api, controller=FIELD_MANAGER)

    async def list_resources(
        self, namespaces: tuple[str, ...], take: Callable[[Body], None], *, metadata_only: bool
    ) -> int:
        """Hand all ProjectSetups of these namespaces (none given: of all), or their metadata, to `take`, page by page.

        They are read from the store and not from a cache. The answer is the resourceVersion of the list, the least
        where several namespaces were listed.
        """
        return min([await self._list(namespace, take, metadata_only) for namespace in namespaces or (None,)])

    async def _list(self, namespace: str | None, take: Callable[[Body], None], metadata_only: bool) -> int:
        version, path = "", setups_path(namespace)
        query = {"limit": METADATA_PAGE if metadata_only else PAGE}
        async for page in self._api.pages("list ProjectSetups", path, query=query, metadata_only=metadata_only):
            for body in page["items"]:
                take(body)
            version = page["metadata"]["resourceVersion"]
        return int(version)

    async def get_resource(self, namespace: str, name: str) -> Body | None:
        """One ProjectSetup, None when there is none of that name."""
        try:
            return await self._api.call(f"get ProjectSetup {namespace}/{name}", "GET", setups_path(namespace, name))
        except ApiNotFound:
            return None

    async def replace_status(self, namespace: str, name: str, *, resource_version: str, status: Body) -> Body:
        """Put `status` in the place of the ProjectSetup's, if it still has this resourceVersion (else ApiConflict).

        Answers the object as it is stored now. To replace it costs the API server a quarter less than to patch it.
        """
        return await self._api.call(
            f"write status of ProjectSetup {namespace}/{name}",
            "PUT",
            f"{setups_path(namespace, name)}/status",
            query={"fieldManager": FIELD_MANAGER},
            body={
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"namespace": namespace, "name": name, "resourceVersion": resource_version},
                "status": status,
            },
        )

    async def post_event(
        self, *, namespace: str, name: str, uid: str, reason: str, message: str, warning: bool, reporter: str
    ) -> None:
        """Leave an event on a ProjectSetup; the same one told again counts up."""
        await self._events.tell(SetupEvent(namespace, name, uid, reason, message, warning, reporter))

    async def get_secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """The base64 data of a Secret, None when there is none of that name."""
        path = f"/api/v1/namespaces/{quote(namespace)}/secrets/{quote(name)}"
        try:
            secret = await self._api.call(f"get Secret {namespace}/{name}", "GET", path)
        except ApiNotFound:
            return None
        return {key: str(value) for key, value in (secret.get("data") or {}).items()}

"""What people do with ProjectSetups by hand; every error is a `ClusterError` or says in one line what to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from typing import Any, Final

from kubernetes.aio import watch
from kubernetes.aio.client import ApiClient, CustomObjectsApi
from kubernetes.aio.client.exceptions import ApiException

from projectsetup.api.constants import API_VERSION, GROUP, KIND, PLURAL, VERSION
from projectsetup.cli.errors import CommandError, NotInstalled
from projectsetup.kube.client import MERGE_PATCH, TIMEOUT, Body, Query, RestClient, translated
from projectsetup.kube.errors import ApiNotFound, ApiUnavailable
from projectsetup.kube.setups import setups_path

FIELD_MANAGER: Final = "projectsetup-cli"
WATCH_SECONDS: Final = 60
APPLY: Final = "application/apply-patch+yaml"


class NoSuchSetup(CommandError):
    """There is no ProjectSetup of that name."""

    def __init__(self, namespace: str, name: str) -> None:
        super().__init__(f"there is no ProjectSetup {name} in namespace {namespace}")


class Setups:
    """The ProjectSetups of a cluster."""

    def __init__(self, api: ApiClient) -> None:
        self._api = RestClient(api)
        self._objects = CustomObjectsApi(api)

    async def find(self, namespace: str, name: str) -> Body | None:
        """One ProjectSetup, None when there is none of that name."""
        try:
            return await self._api.call(f"get ProjectSetup {namespace}/{name}", "GET", setups_path(namespace, name))
        except ApiNotFound:
            await self._check_installed()
            return None

    async def get(self, namespace: str, name: str) -> Body:
        """One ProjectSetup; NoSuchSetup when there is none of that name."""
        found = await self.find(namespace, name)
        if found is None:
            raise NoSuchSetup(namespace, name)
        return found

    async def list(self, namespace: str | None) -> tuple[list[Body], str]:
        """The ProjectSetups of one namespace, or of all, and the resourceVersion of that list."""
        try:
            return await self._api.list_all("list ProjectSetups", setups_path(namespace), query={})
        except ApiNotFound as exc:
            raise NotInstalled from exc

    async def apply(
        self, namespace: str, name: str, *, annotations: Mapping[str, str], spec: Mapping[str, Any], dry_run: bool
    ) -> Body:
        """Create the ProjectSetup; should it be there by now, take over the fields that are given."""
        body: Body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}}
        if annotations:
            body["metadata"]["annotations"] = dict(annotations)
        if spec:
            body["spec"] = dict(spec)
        return await self._patch(namespace, name, body, APPLY, {"force": "true"}, dry_run=dry_run)

    async def annotate(
        self, namespace: str, name: str, annotations: Mapping[str, str], *, dry_run: bool = False
    ) -> Body:
        """Set these annotations and leave all else; NoSuchSetup when there is none of that name."""
        body = {"metadata": {"annotations": dict(annotations)}}
        try:
            return await self._patch(namespace, name, body, MERGE_PATCH, {}, dry_run=dry_run)
        except ApiNotFound as exc:
            raise NoSuchSetup(namespace, name) from exc

    async def changes(self, namespace: str | None, name: str | None, version: str) -> AsyncGenerator[tuple[str, Body]]:
        """What happens after resourceVersion `version`, as kinds of events and bodies, for up to a minute.

        Ends earlier when that version is too old: then list again.
        """
        options: Body = {"timeout_seconds": WATCH_SECONDS, "_request_timeout": WATCH_SECONDS + TIMEOUT}
        if name is not None:
            options["field_selector"] = f"metadata.name={name}"
        method: Any = self._objects.list_cluster_custom_object
        if namespace is not None:
            method = self._objects.list_namespaced_custom_object
            options["namespace"] = namespace
        with translated("watch ProjectSetups"):
            async with watch.Watch() as stream:
                try:
                    async for event in stream.stream(
                        method, group=GROUP, version=VERSION, plural=PLURAL, resource_version=version, **options
                    ):
                        if not isinstance(event, dict):
                            raise ApiUnavailable(f"watch ProjectSetups: {str(event)[:200]}")
                        yield event["type"], event["object"]
                except ApiException as error:
                    if error.status != HTTPStatus.GONE:
                        raise

    async def _patch(
        self, namespace: str, name: str, body: Body, content_type: str, query: Query, *, dry_run: bool
    ) -> Body:
        what = f"apply ProjectSetup {namespace}/{name}"
        query = {"fieldManager": FIELD_MANAGER, **query} | ({"dryRun": "All"} if dry_run else {})
        try:
            return await self._api.call(
                what, "PATCH", setups_path(namespace, name), query=query, body=body, content_type=content_type
            )
        except ApiNotFound:
            await self._check_installed()
            raise

    async def _check_installed(self) -> None:
        try:
            await self._api.call("ask what the cluster knows", "GET", f"/apis/{GROUP}/{VERSION}")
        except ApiNotFound as exc:
            raise NotInstalled from exc

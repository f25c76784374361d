"""The pods of a project's attempts and what their containers print, for people who look at them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from projectsetup.kube.client import Body, RestClient
from projectsetup.kube.jobs import pods_path, read_log


class PodLogs:
    """Reads pods and logs with the rights of the caller; every error is a `ClusterError`."""

    def __init__(self, client: RestClient) -> None:
        self._client = client

    async def select(self, namespace: str, selector: str) -> list[Body]:
        """Return the pods with these labels, oldest first."""
        query = {"labelSelector": selector}
        pods, _ = await self._client.list_all(f"list pods in {namespace}", pods_path(namespace), query=query)
        return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))

    async def get(self, namespace: str, pod: str) -> Body:
        """Return one pod."""
        return await self._client.call(f"get pod {namespace}/{pod}", "GET", f"{pods_path(namespace)}/{pod}")

    def read(
        self, namespace: str, pod: str, container: str, *, follow: bool, since: str | None = None
    ) -> AsyncGenerator[bytes]:
        """Yield what a container has printed, in pieces, each line with its time; `follow`: until it ends.

        What is older than the time `since`, in whole seconds, is left out.
        """
        return read_log(self._client, namespace, pod, container, since=since, follow=follow)

"""What the reconciler needs of the API server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Body = dict[str, Any]


class Cluster(Protocol):
    """The API server as the reconciler uses it; every error is a `cluster.errors.ClusterError`."""

    async def list_resources(
        self, namespaces: tuple[str, ...], take: Callable[[Body], None], *, metadata_only: bool
    ) -> int:
        """Hand all ProjectSetups of these namespaces (none given: of all), or their metadata, to `take`.

        The answer is the version of that list.
        """
        ...

    async def get_resource(self, namespace: str, name: str) -> Body | None:
        """One ProjectSetup, None when there is none of that name."""
        ...

    async def replace_status(self, namespace: str, name: str, *, resource_version: str, status: Body) -> Body:
        """Put `status` in the place of its status, if it still has this resourceVersion; the object as stored."""
        ...

    async def post_event(
        self, *, namespace: str, name: str, uid: str, reason: str, message: str, warning: bool, reporter: str
    ) -> None:
        """Leave an event on a ProjectSetup; the same one told again counts up."""
        ...

    async def get_secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """The base64 data of a Secret, None when there is none of that name."""
        ...

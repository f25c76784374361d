"""What the controller needs of the API server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Body = dict[str, Any]


class Cluster(Protocol):
    """The API server as the controller uses it. Every error is a `kube.errors.ClusterError`."""

    async def visit(self, namespaces: tuple[str, ...], handle: Callable[[Body], None], *, metadata_only: bool) -> int:
        """Hand all ProjectSetups of these namespaces (if none: of all), or their metadata, to `handle`.

        Returns the version of the list.
        """
        ...

    async def find(self, namespace: str, name: str) -> Body | None:
        """One ProjectSetup; None if it does not exist."""
        ...

    async def replace_status(self, namespace: str, name: str, *, resource_version: str, status: Body) -> Body:
        """Replace the status if the object still has this resourceVersion; return the stored object."""
        ...

    async def post_event(
        self, *, namespace: str, name: str, uid: str, reason: str, message: str, warning: bool, reporter: str
    ) -> None:
        """Post an event on a ProjectSetup; a repeated event increases its count."""
        ...

    async def get_secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """The base64 data of a Secret; None if it does not exist."""
        ...

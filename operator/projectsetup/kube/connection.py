"""The connection to the API server: the pod's service account, else the kubeconfig; what happens around each write."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yaml
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTResponse
from kubernetes.aio.config.config_exception import ConfigException

from projectsetup.kube.errors import KubeconfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECTIONS = 32
NO_LIMIT = 0
STREAM_BUFFER = 65_536
"""Bytes read ahead of a stream."""
_UNUSABLE = (ConfigException, yaml.YAMLError, OSError, KeyError, TypeError, ValueError, AttributeError)

Check = Callable[[], None]
"""Raises when nothing may be written now."""
OnWrite = Callable[[str, str, str], None]
"""Takes the resource, such as `projectsetups/status`, the verb, and the result."""

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RESULTS: Final[dict[int, str]] = {
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.UNAUTHORIZED: "unavailable",
    HTTPStatus.REQUEST_TIMEOUT: "unavailable",
    HTTPStatus.TOO_MANY_REQUESTS: "unavailable",
}
_PATH: Final = re.compile(r"/(?:api|apis/[^/]+)/[^/]+/(?:namespaces/[^/]+/)?([^/]+)(?:/[^/]+(?:/([^/]+))?)?/?$")


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """The kubeconfig file and the context to use; None: as kubectl chooses."""

    file: str | None = None
    context: str | None = None

    @property
    def path(self) -> str:
        """The file, or several joined as in `KUBECONFIG`."""
        return self.file or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")

    @property
    def is_named(self) -> bool:
        """Whether file or context were given, which then take precedence over the pod's service account."""
        return self.file is not None or self.context is not None

    def namespace(self, given: str | None) -> str:
        """The given namespace, else the one that kubectl would use."""
        return given or self._pod_namespace() or context_namespace(self)

    def operator_namespace(self, given: str | None) -> str:
        """The given namespace, else the one that an operator started here would use."""
        return given or self._pod_namespace() or "default"

    def _pod_namespace(self) -> str | None:
        return None if self.is_named else pod_namespace()


AS_KUBECTL = Kubeconfig()


def in_pod() -> bool:
    """Return whether this process runs in a pod with a service account."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def credential_files() -> list[Path]:
    """Return the files with our credentials: the pod's service account, else the kubeconfigs."""
    if in_pod():
        return [SERVICE_ACCOUNT]
    return [path for path in map(Path, AS_KUBECTL.path.split(os.pathsep)) if path.is_file()]


def pod_server() -> str:
    """Return the URL of the API server from the pod's environment, which needs no cluster DNS."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def pod_namespace() -> str | None:
    """Return the namespace of the pod that this process runs in, or None outside of pods."""
    file = SERVICE_ACCOUNT / "namespace"
    return file.read_text().strip() if in_pod() and file.exists() else None


async def connect(
    kubeconfig: Kubeconfig = AS_KUBECTL,
    *,
    streaming: bool = False,
    on_write: OnWrite | None = None,
    may_write: Check | None = None,
    readable: str | None = None,
) -> ApiClient:
    """Return a client for the API server, without calling it yet; KubeconfigError when there is no usable config.

    A `streaming` client has as many connections as there are watches and logs to follow, each with a small buffer.
    `may_write` is called before every write request leaves, `on_write` when it is answered. With the path of a
    collection that this program has the right to list in `readable`, no call is refused for a missing right by an API
    server that has just started and grants none; the call fails as if there were no server.
    """
    configuration = Configuration()
    configuration.client_session_kwargs = {"trust_env": False}
    if streaming:
        configuration.connection_pool_maxsize = NO_LIMIT
        configuration.client_session_kwargs["read_bufsize"] = STREAM_BUFFER
    else:
        configuration.connection_pool_maxsize = CONNECTIONS
    if may_write is not None:
        configuration.client_session_kwargs["request_class"] = guarded(may_write)
    if in_pod() and not kubeconfig.is_named:
        config.load_incluster_config(client_configuration=configuration)
        return _client(configuration, on_write, readable)
    path = kubeconfig.path
    _check_exists(path)
    try:
        _check_context(kubeconfig)
        await config.load_kube_config(config_file=path, context=kubeconfig.context, client_configuration=configuration)
        return _client(configuration, on_write, readable)
    except _UNUSABLE as error:
        raise KubeconfigError(f"kubeconfig {path} cannot be used: {_reason(error)}") from error


def _client(configuration: Configuration, on_write: OnWrite | None, readable: str | None) -> ApiClient:
    """Look up the proxy once: a session that trusts the environment reads ~/.netrc again for every request."""
    server = urlsplit(configuration.host)
    if configuration.proxy is None and not proxy_bypass(server.hostname or ""):
        configuration.proxy = getproxies().get(server.scheme)
    return ApiClient(configuration) if on_write is None else ReportingClient(configuration, on_write, readable)


def _check_exists(path: str) -> None:
    if not any(Path(part).exists() for part in path.split(os.pathsep)):
        raise KubeconfigError(f"kubeconfig {path} cannot be used: no such file")


def _reason(error: Exception) -> str:
    if isinstance(error, (KeyError, TypeError, AttributeError)):
        return "not a kubeconfig"
    return " ".join(str(error).split())[:200] or type(error).__name__


def contexts(kubeconfig: Kubeconfig = AS_KUBECTL) -> list[str]:
    """Return the names of all contexts; none when the kubeconfig cannot be read."""
    try:
        found, _ = config.list_kube_config_contexts(config_file=kubeconfig.path)
    except _UNUSABLE:
        return []
    return [str(context["name"]) for context in found]


def context_namespace(kubeconfig: Kubeconfig = AS_KUBECTL) -> str:
    """Return the namespace of the context, or `default`."""
    try:
        found, active = config.list_kube_config_contexts(config_file=kubeconfig.path)
    except _UNUSABLE:
        return "default"
    if kubeconfig.context is not None:
        active = next((context for context in found if context["name"] == kubeconfig.context), {})
    return str((active.get("context") or {}).get("namespace") or "default")


def _check_context(kubeconfig: Kubeconfig) -> None:
    if kubeconfig.context is None:
        return
    found, _ = config.list_kube_config_contexts(config_file=kubeconfig.path)
    names = [str(context["name"]) for context in found]
    if kubeconfig.context not in names:
        raise KubeconfigError(
            f"kubeconfig {kubeconfig.path} has no context {kubeconfig.context}; it has {', '.join(names)}"
        )


def guarded(check: Check) -> type[aiohttp.ClientRequest]:
    """Return the request class of a session that calls `check` at the moment when a write request leaves.

    However long the request has waited for a connection, it is not sent when `check` raises.
    """

    class GuardedRequest(aiohttp.ClientRequest):
        async def send(self, conn: Connection) -> aiohttp.ClientResponse:
            """Send the request, or begin to: `write_bytes` sends one with a body in its own task."""
            self._check()
            return await super().send(conn)

        async def write_bytes(
            self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
        ) -> None:
            """Send headers and body, or close the connection, which the caller sees as an error."""
            try:
                self._check()
            except Exception:  # noqa: BLE001  # whatever the reason, nothing may be written
                conn.close()
            else:
                await super().write_bytes(writer, conn, content_length)

        def _check(self) -> None:
            if self.method not in _READING:
                check()

    return GuardedRequest


class ReportingClient(ApiClient):
    """Calls `on_write` for each write request, and tells a missing right from an API server that grants none yet."""

    def __init__(self, configuration: Configuration, on_write: OnWrite, readable: str | None = None) -> None:
        super().__init__(configuration)
        self._on_write = on_write
        self._readable = readable

    async def call_api(self, method: str, url: str, *request: Any, **options: Any) -> RESTResponse:
        """Send the request and report what became of it.

        An API server that has just started refuses everything until it has read its RBAC objects. A refusal therefore
        counts only if it is repeated after a call that is surely allowed. Raises aiohttp.ClientError if that is not.
        """
        answer = await self._reported(method, url, *request, **options)
        if answer.status != HTTPStatus.FORBIDDEN or self._readable is None:
            return answer
        answer.response.release()
        probe = f"{self.configuration.host}{self._readable}?limit=1"
        listed = await super().call_api("GET", probe, *request[:1], **options)
        listed.response.release()
        if listed.status != HTTPStatus.OK:
            raise aiohttp.ClientError("the API server grants no rights yet; does the operator have its roles?")
        return await self._reported(method, url, *request, **options)

    async def _reported(self, method: str, url: str, *request: Any, **options: Any) -> RESTResponse:
        verb, result = _VERBS.get(method), "unavailable"
        try:
            answer = await super().call_api(method, url, *request, **options)
            result = result_of(answer.status)
            return answer
        finally:
            if verb is not None:
                self._on_write(resource_of(urlsplit(url).path), verb, result)


def resource_of(path: str) -> str:
    """Return the resource that a path names, with its subresource but without object and namespace."""
    found = _PATH.search(path)
    return "other" if found is None else "/".join(filter(None, found.groups()))


def result_of(status: int) -> str:
    """Return the class of an HTTP status."""
    if status < HTTPStatus.BAD_REQUEST:
        return "ok"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "unavailable"
    return _RESULTS.get(status, "rejected")

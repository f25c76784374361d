"""How to reach the API server: the pod's service account, else the kubeconfig."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.config_exception import ConfigException

from projectsetup.kube.api_writes import OnWrite, trace_of_writes
from projectsetup.kube.errors import KubeconfigError
from projectsetup.kube.guard import Check, guarded

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECTIONS = 32
NO_LIMIT = 0
STREAM_BUFFER = 65_536
"""Bytes that are read ahead of a stream."""
_UNUSABLE = (ConfigException, yaml.YAMLError, OSError, KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Which kubeconfig to read and which context of it to take; None: as kubectl would."""

    file: str | None = None
    context: str | None = None

    @property
    def path(self) -> str:
        """The file, or several as `KUBECONFIG` names them."""
        return self.file or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")

    @property
    def is_named(self) -> bool:
        """Whether it was asked for, so that it comes before the pod's service account."""
        return self.file is not None or self.context is not None


AS_KUBECTL = Kubeconfig()


def in_pod() -> bool:
    """Whether this process runs in a pod with a service account."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def credential_files() -> list[Path]:
    """Where the credentials for the API server are: the pod's service account, else the kubeconfigs."""
    if in_pod():
        return [SERVICE_ACCOUNT]
    return [path for path in map(Path, AS_KUBECTL.path.split(os.pathsep)) if path.is_file()]


def pod_server() -> str:
    """The URL of the API server as every pod is told it, which needs no names of the cluster to be resolved."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def pod_namespace() -> str | None:
    """The namespace of the pod that this process runs in, if it runs in one."""
    file = SERVICE_ACCOUNT / "namespace"
    return file.read_text().strip() if in_pod() and file.exists() else None


async def connect(
    kubeconfig: Kubeconfig = AS_KUBECTL,
    *,
    streaming: bool = False,
    on_write: OnWrite | None = None,
    may_write: Check | None = None,
) -> ApiClient:
    """A client for the API server; KubeconfigError when nothing tells where it is. It does not call it yet.

    One for `streaming` has as many connections as there are watches and logs to follow, each with a small buffer.
    `on_write` is told of every request that changes something, `may_write` is asked before it leaves.
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
    if on_write is not None:
        configuration.trace_configs = [trace_of_writes(on_write)]
    if in_pod() and not kubeconfig.is_named:
        config.load_incluster_config(client_configuration=configuration)
        return _client(configuration)
    path = kubeconfig.path
    _check_exists(path)
    try:
        _check_context(kubeconfig)
        await config.load_kube_config(config_file=path, context=kubeconfig.context, client_configuration=configuration)
        return _client(configuration)
    except _UNUSABLE as error:
        raise KubeconfigError(f"kubeconfig {path} cannot be used: {_reason(error)}") from error


def _client(configuration: Configuration) -> ApiClient:
    """The proxy is looked up once: a session that trusts the environment reads ~/.netrc again for every request."""
    server = urlsplit(configuration.host)
    if configuration.proxy is None and not proxy_bypass(server.hostname or ""):
        configuration.proxy = getproxies().get(server.scheme)
    return ApiClient(configuration)


def _check_exists(path: str) -> None:
    if not any(Path(part).exists() for part in path.split(os.pathsep)):
        raise KubeconfigError(f"kubeconfig {path} cannot be used: there is no such file")


def _reason(error: Exception) -> str:
    if isinstance(error, (KeyError, TypeError, AttributeError)):
        return "it is no kubeconfig"
    return " ".join(str(error).split())[:200] or type(error).__name__


def contexts(kubeconfig: Kubeconfig = AS_KUBECTL) -> list[str]:
    """The names of all contexts that there are to choose from; none when it cannot be read."""
    try:
        found, _ = config.list_kube_config_contexts(config_file=kubeconfig.path)
    except _UNUSABLE:
        return []
    return [str(context["name"]) for context in found]


def context_namespace(kubeconfig: Kubeconfig = AS_KUBECTL) -> str:
    """The namespace of the context, `default` when it names none."""
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

"""How to reach the API server: the pod's service account, else the kubeconfig."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.config_exception import ConfigException

from projectsetup.cluster.errors import KubeconfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECTIONS = 32
NO_LIMIT = 0
STREAM_BUFFER = 65_536
"""Bytes that are read ahead of a stream."""


def in_pod() -> bool:
    """Whether this process runs in a pod with a service account."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def pod_server() -> str:
    """The URL of the API server as every pod is told it, which needs no names of the cluster to be resolved."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def pod_namespace() -> str | None:
    """The namespace of the pod that this process runs in, if it runs in one."""
    file = SERVICE_ACCOUNT / "namespace"
    return file.read_text().strip() if in_pod() and file.exists() else None


async def connect(*, streaming: bool = False) -> ApiClient:
    """A client for the API server; KubeconfigError when nothing tells where it is. It does not call it yet.

    One for `streaming` has as many connections as there are watches and logs to follow, each with a small buffer.
    """
    configuration = Configuration()
    if streaming:
        configuration.connection_pool_maxsize = NO_LIMIT
        configuration.client_session_kwargs = {"read_bufsize": STREAM_BUFFER}
    else:
        configuration.connection_pool_maxsize = CONNECTIONS
    if in_pod():
        config.load_incluster_config(client_configuration=configuration)
        return ApiClient(configuration)
    path = _kubeconfig()
    _check_exists(path)
    try:
        await config.load_kube_config(config_file=path, client_configuration=configuration)
        return ApiClient(configuration)
    except (ConfigException, yaml.YAMLError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise KubeconfigError(f"kubeconfig {path} cannot be used: {_reason(error)}") from error


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def _check_exists(path: str) -> None:
    if not any(Path(part).exists() for part in path.split(os.pathsep)):
        raise KubeconfigError(f"kubeconfig {path} cannot be used: there is no such file")


def _reason(error: Exception) -> str:
    if isinstance(error, (KeyError, TypeError, AttributeError)):
        return "it is no kubeconfig"
    return " ".join(str(error).split())[:200] or type(error).__name__


def context_namespace() -> str:
    """The namespace of the kubeconfig's current context, `default` when it names none."""
    try:
        _, active = config.list_kube_config_contexts(config_file=_kubeconfig())
    except (ConfigException, yaml.YAMLError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return "default"
    return str((active.get("context") or {}).get("namespace") or "default")

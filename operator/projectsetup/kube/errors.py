"""What can go wrong in a call to the API server."""

from __future__ import annotations


class ClusterError(Exception):
    """A call to the API server failed; the text is one clear line."""


class ApiUnavailable(ClusterError):
    """The API server does not answer, is overloaded, or rejects our credentials at the moment: waiting may help."""


class ApiForbidden(ApiUnavailable):
    """We lack the right to do this; an administrator can grant it."""


class ApiNoRoom(ApiForbidden):
    """A quota of the namespace is exceeded, or the namespace is being deleted: that passes without an administrator."""


class ApiConflict(ClusterError):
    """The object has changed since it was read, or exists already: read it again."""


class ApiNotFound(ClusterError):
    """The object does not exist."""


class ApiNotInstalled(ApiNotFound):
    """The API server does not serve this kind of object."""


class SetupNotFound(ApiNotFound):
    """The ProjectSetup does not exist."""

    def __init__(self, namespace: str, name: str) -> None:
        super().__init__(f"there is no ProjectSetup {name} in namespace {namespace}")


class ApiRejected(ClusterError):
    """The API server refuses the request, and would refuse it again."""


class ApiExpired(ApiRejected):
    """The resourceVersion to watch from, or the token of the next page, is too old: list the collection again."""


def is_temporary(error: ClusterError) -> bool:
    """Return whether the call may succeed later, without anybody granting a right or changing the request."""
    return isinstance(error, ApiUnavailable) and not isinstance(error, ApiForbidden)


class KubeconfigError(ClusterError):
    """There is no usable kubeconfig, and this process does not run in a pod with a service account."""

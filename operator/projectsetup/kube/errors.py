"""What can go wrong between us and the API server, in our words."""

from __future__ import annotations


class ClusterError(Exception):
    """A call to the API server did not do what it was asked; the text is one clear line."""


class ApiUnavailable(ClusterError):
    """The API server did not answer, is overloaded, or does not let us in at the moment: waiting may cure it."""


class ApiForbidden(ApiUnavailable):
    """We may not do this (yet): an administrator can cure it."""


class ApiNoRoom(ApiForbidden):
    """A quota of the namespace is exceeded, or the namespace is being deleted: that passes without an administrator."""


class ApiConflict(ClusterError):
    """The object has changed, or exists already: read it again."""


class ApiNotFound(ClusterError):
    """There is no such object."""


class ApiRejected(ClusterError):
    """The API server refuses what was sent, and would again."""


class KubeconfigError(ClusterError):
    """There is no usable kubeconfig, and this is no pod with a service account."""

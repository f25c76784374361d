"""A real kube-apiserver, etcd and PostgreSQL on this machine, for the demo, the tests and development."""

from devcluster.cluster import Cluster
from devcluster.errors import DevclusterError

__all__ = ["Cluster", "DevclusterError"]

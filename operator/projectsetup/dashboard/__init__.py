"""A local web page that shows what the ProjectSetups of a cluster are doing."""

from __future__ import annotations

from projectsetup.dashboard.actions import Action, Actions
from projectsetup.dashboard.server import DashboardServer
from projectsetup.dashboard.state import ClusterState

__all__ = ["Action", "Actions", "ClusterState", "DashboardServer"]

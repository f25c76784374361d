"""A local web page that shows the state of ProjectSetups."""

from __future__ import annotations

from projectsetup.dashboard.server import Action, Actions, DashboardServer
from projectsetup.dashboard.setup_pages import LogSources
from projectsetup.dashboard.state import ClusterState

__all__ = ["Action", "Actions", "ClusterState", "DashboardServer", "LogSources"]

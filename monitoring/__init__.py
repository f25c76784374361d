"""Development tools: the Grafana dashboard as code, and a real Prometheus to test it with."""

from __future__ import annotations

from monitoring.prometheus import MonitoringError

__all__ = ["MonitoringError"]

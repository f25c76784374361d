"""The dashboard, made from code, and a real Prometheus that proves it: for who works on this, not for the operator."""

from __future__ import annotations

from monitoring.errors import MonitoringError

__all__ = ["MonitoringError"]

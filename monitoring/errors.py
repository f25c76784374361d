"""What can go wrong here; the text is one clear line."""

from __future__ import annotations


class MonitoringError(Exception):
    """Prometheus, or a picture of what it says, cannot be had."""

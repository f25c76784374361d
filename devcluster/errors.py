"""What can go wrong here; the text is one clear line."""

from __future__ import annotations


class DevclusterError(Exception):
    """The local control plane cannot do what it was asked."""


class PortTaken(DevclusterError):
    """Another program took a port that was free a moment ago."""

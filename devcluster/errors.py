"""Errors; the text is one line for the user."""

from __future__ import annotations


class DevclusterError(Exception):
    """A command on the local cluster failed."""


class PortTaken(DevclusterError):
    """Another process took a port that was free a moment ago."""

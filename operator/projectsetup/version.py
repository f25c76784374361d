"""The one place that states the version: the package, the images, the manifests and the metrics take it from here."""

from __future__ import annotations

VERSION = "0.1.0"


def version() -> str:
    """The version of this package, also where its metadata is not installed."""
    return VERSION

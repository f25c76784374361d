"""kopf with a handler that does nothing: the cost of watching alone."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Disable peering, like our operator."""
    settings.peering.standalone = True


@kopf.on.event("codemyspec.com", "v1alpha1", "projectsetups")
def seen(**_: Any) -> None:
    """Do nothing."""

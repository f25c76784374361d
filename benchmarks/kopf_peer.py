"""The peer: what one writes with kopf in an afternoon. A change-handler runs one step and sets one status field."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """As quiet as ours, and no peering."""
    settings.posting.enabled = False
    settings.peering.standalone = True


@kopf.on.create("codemyspec.com", "v1alpha1", "projectsetups")
async def set_up(patch: kopf.Patch, **_: Any) -> None:
    """Run the step, tell the phase."""
    process = await asyncio.create_subprocess_exec("sh", "-euc", ":")
    patch.status["phase"] = "Succeeded" if await process.wait() == 0 else "Failed"

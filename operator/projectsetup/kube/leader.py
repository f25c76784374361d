"""The leader, as everything that writes sees it; this module knows nothing of the Lease."""

from __future__ import annotations

import asyncio
from typing import Protocol


class LeaseLost(Exception):
    """This operator does not lead, or cannot know whether it does: it writes nothing and exits."""


class Leader(Protocol):
    """Whether this operator leads."""

    identity: str

    def check(self) -> None:
        """Raise LeaseLost when this operator must not write."""
        ...

    def allow_last_writes(self) -> None:
        """From now on let `check` allow writes while this operator exits, as long as no other operator can lead."""
        ...

    async def acquire(self) -> None:
        """Return when this operator leads."""
        ...

    async def hold(self) -> None:
        """Keep leading; raise LeaseLost when that ends."""
        ...

    async def release(self) -> None:
        """Let another operator lead."""
        ...


class SoleOperator:
    """Replaces leader election where it is switched off: this operator always leads."""

    identity = "sole-operator"

    def check(self) -> None:
        """Allow every write."""

    def allow_last_writes(self) -> None:
        """Change nothing."""

    async def acquire(self) -> None:
        """Return at once."""

    async def hold(self) -> None:
        """Never return."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Do nothing."""

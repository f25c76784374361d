"""Who leads: what guards every write."""

from __future__ import annotations

import asyncio
from typing import Protocol


class LeaseLost(Exception):
    """This operator no longer leads, or cannot know that it does: it writes nothing and ends."""


class Leader(Protocol):
    """Tells whether this operator leads."""

    identity: str

    def check(self) -> None:
        """Raise LeaseLost when this operator may not write."""
        ...

    def allow_last_word(self) -> None:
        """From now on `check` allows what may be told while this operator ends, for as long as nobody else can lead."""
        ...

    async def acquire(self) -> None:
        """Return when this operator leads."""
        ...

    async def hold(self) -> None:
        """Go on leading; LeaseLost when that ends."""
        ...

    async def release(self) -> None:
        """Let another operator lead."""
        ...


class SoleOperator:
    """Stands in for leader election where it is switched off: this operator always leads."""

    identity = "sole-operator"

    def check(self) -> None:
        """Always true."""

    def allow_last_word(self) -> None:
        """Nothing changes."""

    async def acquire(self) -> None:
        """Return at once."""

    async def hold(self) -> None:
        """Never returns."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Nothing to give back."""

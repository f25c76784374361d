"""How long ago something that is watched was last heard of."""

from __future__ import annotations

import time
from collections.abc import Callable


class LastHeard:
    """Counts from when it was made, or last heard of; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()

    def now(self) -> None:
        """It tells of a change, or a list shows that there was nothing to tell."""
        self._at = self._clock()

    def seconds(self) -> float:
        """The time since then."""
        return self._clock() - self._at

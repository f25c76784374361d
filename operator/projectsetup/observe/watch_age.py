"""Whether the watch still tells of changes: what a full list knew, the watch must have delivered a little later."""

from __future__ import annotations


class WatchAge:
    """Compares the newest resourceVersion that a list has shown with the newest that the watch has delivered."""

    def __init__(self) -> None:
        self._delivered = 0
        self._expected = 0
        self.silent = False
        """The watch has missed what a list showed at least one comparison ago."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the watch, None when nothing is."""
        return "silent: it has not told of changes that a list shows" if self.silent else None

    def delivered(self, resource_version: int) -> None:
        """The watch has delivered an object of this version."""
        self._delivered = max(self._delivered, resource_version)
        if self._delivered >= self._expected:
            self.silent = False

    def listed(self, newest: int) -> None:
        """A full list has shown `newest` as the newest version of all objects."""
        self.silent = self._delivered < self._expected
        self._expected = max(self._expected, newest)

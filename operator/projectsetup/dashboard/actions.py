"""What people may ask for by a button, when the dashboard was started so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Action = Callable[[str, str], Awaitable[str]]
"""Asks for something about the ProjectSetup of this namespace and name; says in one line what comes of it.

Raises ClusterError.
"""


@dataclass(frozen=True, slots=True)
class Actions:
    """The buttons there are."""

    retry: Action
    cancel: Action

"""Messages about a step: one readable line that ends with what the step printed last."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MESSAGE_LENGTH = 1024
_LINES = 5
_SEPARATOR = " | "
_REMOTE = "remote:"
_PROGRESS = re.compile(r"remote: ?(?:Enumerating|Counting|Compressing|Resolving|Processing|Total)\b")
_TELLS = re.compile(r"\w")
"""A line without a letter or a digit is decoration."""


def cut(text: str, limit: int = MESSAGE_LENGTH) -> str:
    """The text, shortened to `limit` characters where it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def message_with_output(head: str, tail: Sequence[str]) -> str:
    """`head: output`: what a git server has to say (`remote: …`) first, and then the last lines.

    Of the last lines the end tells most, so it is their beginning that is cut.
    """
    lines = [text for line in tail if _TELLS.search((text := " ".join(line.split())).removeprefix(_REMOTE))]
    if not lines:
        return cut(f"{head}; it printed nothing")
    said = [line for line in lines if line.startswith(_REMOTE) and not _PROGRESS.match(line)]
    last = [line for line in lines if not line.startswith(_REMOTE)][-_LINES:]
    room = MESSAGE_LENGTH - len(head) - len(": ")
    parts = [cut(_SEPARATOR.join(said), room * 2 // 3)] if said else []
    if last:
        room -= sum(len(part) + len(_SEPARATOR) for part in parts)
        parts.append(_cut_beginning(_SEPARATOR.join(last), room))
    return cut(f"{head}: {_SEPARATOR.join(parts)}")


def _cut_beginning(text: str, limit: int) -> str:
    return text if len(text) <= limit else "…" + text[len(text) - max(limit - 1, 0) :]

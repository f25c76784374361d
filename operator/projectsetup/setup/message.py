"""Messages about a step: one readable line that ends with what the step printed last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MESSAGE_LENGTH = 1024
_LINES = 5
_SEPARATOR = " | "


def cut(text: str, limit: int = MESSAGE_LENGTH) -> str:
    """The text, shortened to `limit` characters where it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def message_with_output(head: str, tail: Sequence[str]) -> str:
    """`head: last lines`, cut where the output begins, because its end tells most."""
    lines = [text for line in tail if (text := " ".join(line.split()))][-_LINES:]
    if not lines:
        return cut(f"{head}; it printed nothing")
    room = MESSAGE_LENGTH - len(head) - len(": ")
    output = _SEPARATOR.join(lines)
    if len(output) > room:
        output = "…" + output[len(output) - max(room - 1, 0) :]
    return cut(f"{head}: {output}")

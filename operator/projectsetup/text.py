"""Text that people write freely: what is refused in it, and the form in which it is kept."""

from __future__ import annotations

import re
import unicodedata

_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    "\u2028\u2029"  # line and paragraph separators: for many programs the end of a line
    "\u202a-\u202e\u2066-\u2069"  # bidirectional overrides and isolates: they show other text in another order
    "\ud800-\udfff]"  # surrogates: not text at all
)
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})


def harmful_character(text: str) -> str | None:
    """The first character that no single line of text may hold, as U+XXXX; None when there is none.

    Everything else is what people write: joiners, soft hyphens, spaces of all widths, emoji of any age.
    """
    found = _HARMFUL.search(text)
    return None if found is None else f"U+{ord(found[0]):04X}"


def without_harm(text: str) -> str:
    """The text with U+FFFD in the place of each harmful character."""
    return _HARMFUL.sub("\ufffd", text)


def is_visible(text: str) -> bool:
    """Whether there is anything in it to see."""
    return any(unicodedata.category(character) not in _INVISIBLE for character in text)


def composed(text: str) -> str:
    """The text in NFC, the form in which one spelling is one sequence of characters."""
    return unicodedata.normalize("NFC", text)

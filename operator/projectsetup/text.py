"""What people may write: lengths, the form of a label, which characters are refused in free text, its normal form."""

from __future__ import annotations

import re
import unicodedata

NAME_LENGTH, DESCRIPTION_LENGTH, URL_LENGTH = 100, 10_000, 2048
"""Most characters of a project's name, its description, and the URL of a repository."""

DNS_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""The pattern of the name of a namespace or recipe."""

_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    "\u2028\u2029"  # line and paragraph separators: many programs end a line there
    "\u202a-\u202e\u2066-\u2069"  # bidirectional overrides and isolates: they reorder the text around them
    "\ud800-\udfff]"  # surrogates: not valid text
)
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})


def harmful_character(text: str) -> str | None:
    """The first character that is not allowed in a line of text, as U+XXXX; None if there is none.

    Everything else is allowed: joiners, soft hyphens, spaces of all widths, all emoji.
    """
    found = _HARMFUL.search(text)
    return None if found is None else f"U+{ord(found[0]):04X}"


def without_harm(text: str) -> str:
    """The text with each harmful character replaced by U+FFFD."""
    return _HARMFUL.sub("\ufffd", text)


def is_visible(text: str) -> bool:
    """Whether any character is visible."""
    return any(unicodedata.category(character) not in _INVISIBLE for character in text)


def composed(text: str) -> str:
    """The text in NFC."""
    return unicodedata.normalize("NFC", text)

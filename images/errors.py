"""What can go wrong here; the text is one clear line."""

from __future__ import annotations


class ImagesError(Exception):
    """The images cannot be built."""

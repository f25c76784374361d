"""The code blocks of the documentation, which tests run as they are."""

from __future__ import annotations

import re

from tests.support.manifests import ROOT


def code_blocks(page: str, language: str, *, containing: str = "") -> list[str]:
    """The code blocks of this language on a page, which is named from the root of the repository."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [block for block in blocks if containing in block]

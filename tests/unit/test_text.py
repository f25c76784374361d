from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.text import harmful_character, is_visible, without_harm

BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.characters())
def test_control_characters_and_bidirectional_overrides_are_harmful_and_nothing_else(character: str) -> None:
    category, direction = unicodedata.category(character), unicodedata.bidirectional(character)
    harmful = category in {"Cc", "Cs", "Zl", "Zp"} or direction in BIDIRECTIONAL
    assert (harmful_character(f"a{character}b") is not None) is harmful
    assert without_harm(f"a{character}b") == ("a\ufffdb" if harmful else f"a{character}b")


@given(st.text())
def test_without_harm_leaves_no_harmful_character(text: str) -> None:
    assert harmful_character(without_harm(text)) is None


@pytest.mark.parametrize("code", [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029, 0x85, 0, 0x1B, 0x7F])
def test_a_harmful_character_is_named(code: int) -> None:
    assert harmful_character(f"a{chr(code)}{chr(7)}") == f"U+{code:04X}"


@pytest.mark.parametrize(
    ("text", "visible"), [("", False), (" \u00a0\u200b\u00ad\u200d", False), ("\u200dx", True), ("👧", True)]
)
def test_visible_text(text: str, visible: bool) -> None:
    assert is_visible(text) is visible

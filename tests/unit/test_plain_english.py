"""Text and names use the words of the field: private words and riddles of earlier versions do not come back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.manifests import ROOT

WORDS: Final = {
    r"sights?": "state",
    r"verdicts?": "outcome",
    r"judges?": "outcome",
    r"luck": "jitter",
    r"wish(es)?": "request",
    r"vacanc(y|ies)": "lease observer",
    r"patience": "shield",
    r"told|telling": "reported, report",
    r"departures?": "cleanup",
    r"sweep(s|ing|er)?": "garbage collection",
    r"burned": "consumed",
    r"rooms": "packages",
    r"(?-i:Notices?)\b(?! )": "event",
    r"start line": "slots, queue",
    r"anew": "again",
    r"who leads": "the leader",
    r"gets? on": "progresses",
    r"is away": "is unavailable",
    r"said no|says no": "failed, refused",
    r"(that|those) there (is|are)": "available, existing",
    r"(has|have) to be repeated": "is retried",
    r"what is over": "finished",
    r"let_go|let go": "release",
    r"clear_away": "wait_for_predecessors",
    r"(?-i:StartLine)": "Slots",
    r"(?-i:Departed)": "Deleted",
    r"conduct": "run control",
    r"(?-i:Course)": "run control",
    r"goes on": "continues",
    r"is over": "has ended",
    r"those who": "users",
    r"\b_look(_anew)?\b": "reconcile, refetch",
    r"(?-i:\bLOOKS\b)": "MAX_PASSES",
    r"uninterrupted": "shield",
    r"(?-i:Gate)": "DatabaseHealth",
    r"(?-i:shut)": "mark_down, close",
    r"(?-i:class Returned|(?<=\.)Returned|Returned\(|import (\w+, )*Returned)": "Released (stored as Returned)",
}
"""Regular expressions of whole words, and what to write instead."""
EXCEPTIONS: Final[dict[str, str]] = {
    "tests/unit/test_plain_english.py": "it lists the words",
    "LICENSE": "the text of the license is fixed",
}
"""Files that may contain the words, and why."""
SUFFIXES: Final = frozenset(
    {"", ".py", ".md", ".yaml", ".yml", ".toml", ".sh", ".html", ".js", ".css", ".go", ".ini", ".jinja", ".Dockerfile"}
)


def text_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    return [name for name in listed if name and Path(name).suffix in SUFFIXES and name not in EXCEPTIONS]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {name: (ROOT / name).read_text() for name in text_files() if (ROOT / name).is_file()}


@pytest.mark.parametrize("pattern", WORDS)
def test_private_words_do_not_come_back(texts: dict[str, str], pattern: str) -> None:
    word = re.compile(rf"(?<![a-z])({pattern})(?![a-z])", re.IGNORECASE)
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if word.search(line)
    ]
    assert not found, f"write {WORDS[pattern]!r} instead:\n" + "\n".join(found)


def test_exceptions_are_still_needed(texts: dict[str, str]) -> None:
    assert all((ROOT / name).exists() for name in EXCEPTIONS)
    assert len(texts) > 100

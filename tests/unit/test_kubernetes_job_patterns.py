"""Patterns of Python as those of grep: nothing that Python finds is missed."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projectsetup.engines.kubernetes_job.patterns import prefilter, translate

GREPS = [
    pytest.param(command, id=command[0], marks=pytest.mark.skipif(not shutil.which(command[0]), reason="not installed"))
    for command in (["grep"], ["busybox", "grep"])
]


def found(grep: list[str], expression: str, lines: list[bytes]) -> set[int]:
    done = subprocess.run(
        [*grep, "-a", "-n", "-E", "-e", expression],
        input=b"\n".join(lines) + b"\n",
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return {int(line.split(b":", 1)[0]) - 1 for line in done.stdout.splitlines()}


@pytest.mark.parametrize("grep", GREPS)
@pytest.mark.parametrize(
    ("pattern", "line", "other"),
    [
        ("Connection reset", "curl: Connection reset by peer", "connection reset"),
        ("(?i)temporary failure", "TEMPORARY Failure", "temporary"),
        (r"Request failed after \d+ retr", "Request failed after 3 retries", "Request failed after retries"),
        (r"HTTP status (server|client) error \((5\d\d|408|429)", "HTTP status server error (503", "HTTP status (503"),
        ("(?i)connection reset|timed out|temporary failure", "Timed Out", "timeout"),
        (r"^fatal: [^ ]+$", "fatal: x", "oh fatal: x"),
        (r"costs \$\(5\) {x}", "costs $(5) {x}", "costs $5"),
        (r"a.c", "aéc", "ac"),
        (r"a.?c", "aéc", "abbbbbbc"),
        (r"[^a]b", "éb", "ab"),
        (r"\bword\b", "a word", "wor"),
        (r"x{2,3}y", "xxy", "xy"),
        (r"(?:ab){2}", "abab", "ab"),
        (r"[]^-]", "-", "a"),
        (r"[\]\\]", "\\", "a"),
        (r"[-^]", "^", "a"),
        (r"ä+b", "ääb", "b"),
        (r"(?i)task", "ta\N{LATIN SMALL LETTER LONG S}\N{KELVIN SIGN}", "tas"),
        (r"(?P<what>lock)ed", "locked", "lock"),
        (r"a*?b+?", "b", "a"),
        (r"[\w.]+@", "jörg@", " @"),
    ],
)
def test_translations(grep: list[str], pattern: str, line: str, other: str) -> None:
    translated = translate(pattern)
    assert translated is not None
    assert re.search(pattern, line)
    assert found(grep, translated, [line.encode(), other.encode()]) == {0}


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", r"(?=a)b", r"(?<!a)b", r"(?x) a b", r"(?i:a)b", r"a\nb", r"a|", r"(|a)", "(?#x)a", r"\u0041"]
)
def test_what_is_not_translated(pattern: str) -> None:
    re.compile(pattern)
    assert translate(pattern) is None


def test_patterns_are_alternatives_and_those_that_cannot_be_translated_are_left_out() -> None:
    assert prefilter(["a", r"(b)\1", "c|d"]) == "(a)|(c|d)"
    assert prefilter([r"(b)\1"]) == prefilter([]) == ""


def test_large_repetitions_are_not_counted() -> None:
    assert translate("a{2,100000}") == "a+"
    assert translate("(a{20}b{20}){50}") == "(a{20,20}b{20,20})+"
    assert translate(".{0,1000}") == ".*"


def test_no_other_character_is_found_in_a_letter_without_regard_to_case() -> None:
    everything = "".join(chr(code) for code in range(128, 0x110000) if not 0xD800 <= code < 0xE000)
    for letter in map(chr, range(128)):
        if re.search(re.escape(letter), everything, re.IGNORECASE):
            assert letter in "iksIKS"


BEYOND_ASCII = ("é", "ß", "\N{LATIN SMALL LETTER LONG S}", "中", "😀", "\N{REPLACEMENT CHARACTER}")
CHARACTERS = st.sampled_from([*"abkKsiI019 _-^]\\[.{}$|()*+?&~,:=\t", *BEYOND_ASCII])
CLASSES = st.sampled_from([r"\d", r"\D", r"\w", r"\W", r"\s", r"\S"])
MEMBERS = st.one_of(CHARACTERS.map(re.escape), CLASSES, st.sampled_from(["a-k", "0-9", " -/"]))
SETS = st.builds(
    lambda negated, members: f"[{negated}{''.join(members)}]",
    st.sampled_from(["", "^"]),
    st.lists(MEMBERS, min_size=1, max_size=4),
)
REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?", "+?"])
PATTERNS = st.recursive(
    st.one_of(CHARACTERS.map(re.escape), CLASSES, SETS, st.sampled_from([".", r"\b", "^", "$", "ab"])),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.builds("(?:{}){}".format, inner, REPEATS),
    ),
    max_leaves=8,
)
TEXTS = st.text(CHARACTERS, max_size=8).map(str.encode)
BYTES = st.binary(max_size=6).map(lambda raw: raw.translate(None, b"\0\r\n"))
LINES = st.lists(st.one_of(TEXTS, BYTES), min_size=1, max_size=20)


@pytest.mark.parametrize("grep", GREPS)
@settings(max_examples=300, deadline=None)
@given(pattern=st.tuples(st.sampled_from(["", "(?i)"]), PATTERNS).map("".join), lines=LINES)
def test_grep_finds_whatever_python_finds(grep: list[str], pattern: str, lines: list[bytes]) -> None:
    try:
        form = re.compile(pattern)
    except re.error:
        return
    translated = translate(pattern)
    if translated is None:
        return
    expected = {number for number, line in enumerate(lines) if form.search(line.decode("utf-8", "replace"))}
    assert expected <= found(grep, translated, lines)

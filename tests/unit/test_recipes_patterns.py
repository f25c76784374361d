"""The patterns of recipes: what is accepted means the same in Python, RE2 and, for `retry.output`, grep."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from projectsetup.recipes.patterns import line_search, posix_pattern, value_match

GREPS = [
    pytest.param(command, id=command[0], marks=pytest.mark.skipif(not shutil.which(command[0]), reason="not installed"))
    for command in (["grep"], ["busybox", "grep"])
]


SECONDS = 5
"""Some patterns that repeat what may be empty take a grep for ever, as they take Python; the property is agreement."""


def found(grep: list[str], expression: str, lines: list[bytes]) -> set[int]:
    done = subprocess.run(
        [*grep, "-a", "-n", "-E", "-e", expression],
        input=b"\n".join(lines) + b"\n",
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode in (0, 1), done.stderr
    return {int(line.split(b":", 1)[0]) - 1 for line in done.stdout.splitlines()}


@pytest.mark.parametrize("grep", GREPS)
@pytest.mark.parametrize(
    ("pattern", "line", "other"),
    [
        ("Connection reset", "curl: Connection reset by peer", "connection reset"),
        ("(?i)temporary failure", "TEMPORARY Failure", "temporary"),
        (r"HTTP status (server|client) error \((5\d\d|408|429)", "HTTP status server error (503", "HTTP status (503"),
        (r"^fatal: [^ ]+$", "fatal: x", "oh fatal: x"),
        (r"costs \$\(5\) \{x\}", "costs $(5) {x}", "costs $5"),
        (r"a.+c", "aéc", "ac"),
        (r"\bword\b", "a word", "swords"),
        (r"x{2,3}y", "xxy", "xy"),
        (r"(?:ab){2}", "abab", "ab"),
        (r"[]^-]", "-", "a"),
        (r"(?i)[^a-c\d]z", "xZ", "AZ"),
        (r"(ä)+b", "ääb", "b"),
        (r"[\w.-]+@\S", "a-b@x", " @"),
        (r"a\tb\\c", "a\tb\\c", "a b\\c"),
        (r"\]\^\-", "]^-", "]-"),
    ],
)
def test_grep_and_re2_agree(grep: list[str], pattern: str, line: str, other: str) -> None:
    assert [*map(line_search([pattern]), (line.encode(), other.encode()))] == [True, False]
    assert found(grep, posix_pattern(pattern), [line.encode(), other.encode()]) == {0}


NO_GROUPS = "look-around, back-references and named groups are not"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(a)\1", r"'(a)\1': back-references are not supported (at '\1'); write the text itself"),
        ("(?<!a)b", f"'(?<!a)b': {NO_GROUPS} supported (at '(?<!a)b'); write "),
        ("(?P<x>a)", f"'(?P<x>a)': {NO_GROUPS}"),
        ("(?i:a)", "'(?i:a)': options other than (?i) at the very beginning are not supported"),
        ("ab*?", "'ab*?': lazy and possessive repetitions are not supported (at '*?'); write *, +, ? or {n,m}"),
        ("a{2}+", "'a{2}+': lazy and possessive repetitions are not"),
        ("{x", r"'{x': { as a character, or without a least number, is not supported (at '{x'); write \{ or {0,n}"),
        ("x}", r"'x}': } as a character is not supported (at '}'); write \}"),
        (r"a\Z", r"'a\Z': \A and \Z are not supported (at '\Z'); write ^ and $"),
        (r"a\nb", r"'a\nb': line ends are not supported"),
        (r"\x41", r"'\x41': this escape is not supported"),
        ("[[:alpha:]]", "'[[:alpha:]]': this set is not supported"),
        (r"[\]]", r"'[\]]': this set is not supported (at '[\]]'); write ] first, - last,"),
        ("[A-z]", "'[A-z]': this set is not supported"),
        ("[é]", "'[é]': this set is not supported"),
        ("é+", "'é+': a repeated character beyond ASCII is not supported"),
        ("a\x01", r"'a\x01': this character is not supported"),
        ("a|", "'a|': an empty alternative matches every line; remove it"),
        ("()", "'()': an empty alternative"),
        ("", "'': an empty alternative"),
        ("(a{50}){50}", "'(a{50}){50}': more than 1000 repetitions in all are not supported; write * or +"),
    ],
)
def test_what_is_refused_says_what_to_write_instead(pattern: str, message: str) -> None:
    re.compile(pattern)
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        posix_pattern(pattern)


CHARACTERS = st.sampled_from([*"abkKsiI019 _-^]\\[.{}$|()*+?&~,:=", "é", "中"])
CLASSES = st.sampled_from([r"\d", r"\D", r"\w", r"\W", r"\s", r"\S"])
MEMBERS = st.sampled_from([*"abK1 _^.$|(", r"\d", r"\w", r"\s", r"\.", "a-k", "0-9", "I-S"])
SETS = st.builds(
    lambda begin, members, end: f"[{begin}{''.join(members)}{end}]",
    st.sampled_from(["", "^", "]", "^]", "-"]),
    st.lists(MEMBERS, min_size=1, max_size=4),
    st.sampled_from(["", "-"]),
)
REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}"])
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
def test_grep_finds_what_python_finds(grep: list[str], pattern: str, lines: list[bytes]) -> None:
    try:
        form = re.compile(pattern.encode())
        translated = posix_pattern(pattern)
        search = line_search([pattern])
    except (re.error, ValueError):
        return
    expected = {number for number, line in enumerate(lines) if form.search(line)}
    try:
        found_by_grep = found(grep, translated, lines)
    except subprocess.TimeoutExpired:
        reject()
    assert found_by_grep == expected
    assert {number for number, line in enumerate(lines) if search(line)} == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?!a)b", "invalid perl operator: (?! (look-around is not supported; use several patterns with |, or check"),
        ("(?<=a)b", "invalid perl operator: (?<= (look-around is not supported; use several"),
        (r"(a)\1", r"invalid escape sequence: \1 (back-references are not supported)"),
        ("(?P<x>a)(?P=x)", "invalid perl operator: (?P (back-references are not supported)"),
        (r"\u20AC", r"invalid escape sequence: \u (write \x{20AC} for a character by its number)"),
        (r"a\Z", r"invalid escape sequence: \Z (write $)"),
        ("(?x) a", "invalid perl operator: (?x (of the options only (?i), (?m) and (?s) are supported)"),
        ("a{1001}", "invalid repetition size: {1001}"),
    ],
)
def test_what_the_pattern_of_a_parameter_may_not_contain(pattern: str, message: str) -> None:
    re.compile(pattern)
    with pytest.raises(ValueError, match="^" + re.escape(f"must be a regular expression of RE2: {message}")):
        value_match(pattern)


def test_a_pattern_that_re2_reads_otherwise_than_python_is_refused() -> None:
    with pytest.raises(ValueError, match=r"write \{0,n\} for \{,n\}$"):
        value_match("a{,3}")
    assert value_match(r"a\{,3}")("a{,3}")


@pytest.mark.parametrize("pattern", [r"[a-z]+(-?[a-z]+)*", r"([a-z]+ ?)+\d", r"npm .*error.*code.*E"])
def test_no_pattern_needs_more_time_than_the_text_is_long(pattern: str) -> None:
    """Python's `re` needs minutes for the first two, and far longer than the tests may take."""
    text = "npm errorcode" * 2_000 + "!"
    assert not value_match(pattern)(text)
    assert not line_search([pattern + "!!"])(text.encode())

"""What a step prints: lines, last lines, matches, with bounded memory and without secrets."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.setup.output import LINE_BYTES, LOGGED_LINES, TAIL_CHARACTERS, TAIL_LINES, StepOutput
from projectsetup.setup.scrub import Scrubber


def output(*retry: str, secrets: tuple[str, ...] = (), lines: list[str] | None = None) -> StepOutput:
    return StepOutput(Scrubber(secrets), retry=retry, on_line=None if lines is None else lines.append)


def fed(step_output: StepOutput, *pieces: bytes) -> StepOutput:
    for piece in pieces:
        step_output.feed(piece)
    step_output.close()
    return step_output


@given(
    words=st.lists(st.text(alphabet="abcü€😀", min_size=1, max_size=12), max_size=20),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=10),
)
def test_lines_are_the_same_however_the_output_comes_in_pieces(words: list[str], cuts: list[int]) -> None:
    whole = "\n".join(words).encode()
    borders = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    lines: list[str] = []
    end = fed(output(lines=lines), *(whole[a:b] for a, b in pairwise(borders)))
    assert lines == words
    assert end.tail == tuple(words)


def test_the_tail_is_the_last_lines_that_are_not_blank() -> None:
    text = "".join(f"line {n}\n\n  \n" for n in range(200))
    end = fed(output(), text.encode() + b"\n" * 5000)
    assert end.tail == tuple(f"line {n}" for n in range(200 - TAIL_LINES, 200))


def test_the_tail_has_a_bounded_length() -> None:
    end = fed(output(), b"".join(b"%d " % n + b"x" * 1000 + b"\n" for n in range(100)))
    assert end.tail[-1].startswith("99 ")
    assert TAIL_CHARACTERS - 1100 < sum(map(len, end.tail)) <= TAIL_CHARACTERS


def test_a_progress_bar_gives_lines() -> None:
    assert fed(output(), b"10%\r50%\r100%\r\nfine\r\n").tail == ("10%", "50%", "100%", "fine")


def test_control_characters_and_colours_are_left_out() -> None:
    end = fed(output(), b"\x1b[1;31mred\x1b[0m\x00 a\tb \x07\x1b]0;title\x07\xff\xc2\x85end\n")
    assert end.tail == ("red a\tb \ufffdend",)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("Connection reset", "fatal: Connection reset by peer"),
        ("(?i)^FATAL.*peer$", "fatal: Connection reset by peer"),
        ("peer.next", None),
        (r"peer\s+next", None),
        ("^next line$", "next line"),
        (r"\A\Z", ""),
    ],
)
def test_a_pattern_is_searched_for_in_each_line_by_itself(pattern: str, found: str | None) -> None:
    end = fed(output(pattern), b"first\nfatal: Connection re", b"set by peer\nnext line\n\nlast")
    assert end.matched == found


def test_the_first_match_stays_and_is_told_without_secrets() -> None:
    end = fed(output("reset", secrets=("hunter2",)), b"reset hunter2\nreset again\n")
    assert end.matched == "reset ***"


def test_a_long_line_is_cut_before_it_is_matched_and_no_secret_is_cut_open() -> None:
    secret = "correct-horse-battery"
    line = b"x" * (LINE_BYTES - 10) + secret.encode()
    lines: list[str] = []
    end = fed(output("horse-battery", secrets=(secret,), lines=lines), line * 3, line, b"\nnext\n")
    assert end.matched is None
    assert lines == ["x" * (LINE_BYTES - 10) + "***", "next"]


@given(width=st.integers(min_value=7, max_value=90), piece=st.integers(min_value=1, max_value=200))
def test_a_secret_that_goes_on_in_the_next_line_is_hidden_however_it_comes_in_pieces(width: int, piece: int) -> None:
    secret = "ghp_0123456789abcdefABCDEFghijklmnopqrst"
    flat = f"{'x' * 50}{secret}{'y' * 50}"
    printed = "".join(f"{flat[at : at + width]}\n" for at in range(0, len(flat), width)).encode()
    lines: list[str] = []
    told_by = output(secrets=(secret,), lines=lines)
    for at in range(0, len(printed), piece):
        told_by.feed(printed[at : at + piece])
    told_by.close()
    for told in (lines, told_by.tail):
        assert len(told) == -(-len(flat) // width)
        assert not [at for at in range(len(secret) - 4) if secret[at : at + 5] in "".join(told)]


def test_a_line_that_is_held_back_comes_before_the_next_one() -> None:
    lines: list[str] = []
    told_by = output(secrets=("hunter22",), lines=lines)
    told_by.feed(b"one\nhunt\n")
    assert lines == ["one"]
    told_by.feed(b"two\n")
    assert lines == ["one", "hunt", "two"]
    told_by.feed(b"hunt\n")
    told_by.close()
    assert lines == ["one", "hunt", "two", "hunt"]


def test_a_private_key_is_not_told_line_by_line() -> None:
    lines: list[str] = []
    end = fed(
        output(lines=lines),
        b"a\n-----BEGIN PRIVATE KEY-----\nMIIEvQ",
        b"IBADAN\nBgkqhkiG9w0B\n-----END PRIVATE KEY-----\nb\n",
    )
    assert lines == ["a", "***", "***", "***", "***", "b"]
    assert end.tail == tuple(lines)


def test_of_a_flood_the_log_gets_the_beginning_and_the_end() -> None:
    lines: list[str] = []
    fed(output(lines=lines), *(b"line %d\n" % n for n in range(LOGGED_LINES + 1000)))
    assert len(lines) == LOGGED_LINES + 1 + TAIL_LINES
    assert lines[LOGGED_LINES - 1] == f"line {LOGGED_LINES - 1}"
    assert lines[LOGGED_LINES] == "1000 more lines are not logged; the last of them:"
    assert lines[-1] == f"line {LOGGED_LINES + 999}"


@pytest.mark.parametrize("piece", [b"y\n" * 32_768, b"y" * 65_536, b"\n" * 65_536])
def test_memory_stays_bounded(piece: bytes) -> None:
    flood = output("never found")
    flood.feed(piece)
    tracemalloc.start()
    try:
        for _ in range(3):
            flood.feed(piece)
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    flood.close()
    assert current < 1_000_000
    assert flood.matched is None

"""Output of a step: lines, last lines, matches and facts, with bounded memory and without secrets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.setup.output import (
    LINE_BYTES,
    LOGGED_LINES,
    OUTPUTS_BYTES,
    TAIL_CHARACTERS,
    TAIL_LINES,
    StepOutput,
    read_outputs,
)
from projectsetup.setup.scrub import Scrubber


def output(*retry: str, secrets: tuple[str, ...] = (), lines: list[str] | None = None) -> StepOutput:
    return StepOutput(Scrubber(secrets), retry=retry, on_line=None if lines is None else lines.append)


def fed(step_output: StepOutput, *chunks: bytes) -> StepOutput:
    for chunk in chunks:
        step_output.feed(chunk)
    step_output.close()
    return step_output


@given(
    words=st.lists(st.text(alphabet="abcü€😀", min_size=1, max_size=12), max_size=20),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=10),
)
def test_lines_do_not_depend_on_how_the_output_is_chunked(words: list[str], cuts: list[int]) -> None:
    whole = "\n".join(words).encode()
    borders = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    lines: list[str] = []
    end = fed(output(lines=lines), *(whole[a:b] for a, b in pairwise(borders)))
    assert lines == words
    assert end.tail == tuple(words)


def test_the_tail_has_a_bounded_length() -> None:
    end = fed(output(), b"".join(b"%d " % n + b"x" * 1000 + b"\n" for n in range(100)))
    assert end.tail[-1].startswith("99 ")
    assert TAIL_CHARACTERS - 1100 < sum(map(len, end.tail)) <= TAIL_CHARACTERS


def test_a_progress_bar_becomes_lines() -> None:
    assert fed(output(), b"10%\r50%\r100%\r\nfine\r\n").tail == ("10%", "50%", "100%", "fine")


def test_control_characters_and_colours_are_removed() -> None:
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
        ("^$", ""),
    ],
)
def test_a_pattern_is_searched_for_in_each_line_by_itself(pattern: str, found: str | None) -> None:
    end = fed(output(pattern), b"first\nfatal: Connection re", b"set by peer\nnext line\n\nlast")
    assert end.matched == found


def test_the_first_match_stays_and_has_no_secrets() -> None:
    end = fed(output("reset", secrets=("hunter2",)), b"reset hunter2\nreset again\n")
    assert end.matched == "reset ***"


def test_a_long_line_is_cut_before_it_is_matched_and_no_secret_is_cut_open() -> None:
    secret = "correct-horse-battery"
    line = b"x" * (LINE_BYTES - 10) + secret.encode()
    lines: list[str] = []
    end = fed(output("horse-battery", secrets=(secret,), lines=lines), line * 3, line, b"\nnext\n")
    assert end.matched is None
    assert lines == ["x" * (LINE_BYTES - 10) + "***", "next"]


@given(width=st.integers(min_value=7, max_value=90), chunk=st.integers(min_value=1, max_value=200))
def test_a_secret_that_spans_lines_is_hidden_however_it_is_chunked(width: int, chunk: int) -> None:
    secret = "ghp_0123456789abcdefABCDEFghijklmnopqrst"
    flat = f"{'x' * 50}{secret}{'y' * 50}"
    printed = "".join(f"{flat[at : at + width]}\n" for at in range(0, len(flat), width)).encode()
    lines: list[str] = []
    step_output = output(secrets=(secret,), lines=lines)
    for at in range(0, len(printed), chunk):
        step_output.feed(printed[at : at + chunk])
    step_output.close()
    for shown in (lines, step_output.tail):
        assert len(shown) == -(-len(flat) // width)
        assert not [at for at in range(len(secret) - 4) if secret[at : at + 5] in "".join(shown)]


def test_lines_that_are_held_back_keep_their_order() -> None:
    lines: list[str] = []
    step_output = output(secrets=("hunter22",), lines=lines)
    step_output.feed(b"one\nhunt\n")
    assert lines == ["one"]
    step_output.feed(b"two\n")
    assert lines == ["one", "hunt", "two"]
    step_output.feed(b"hunt\n")
    step_output.close()
    assert lines == ["one", "hunt", "two", "hunt"]


def test_every_line_of_a_private_key_is_hidden() -> None:
    lines: list[str] = []
    end = fed(
        output(lines=lines),
        b"a\n-----BEGIN PRIVATE KEY-----\nMIIEvQ",
        b"IBADAN\nBgkqhkiG9w0B\n-----END PRIVATE KEY-----\nb\n",
    )
    assert lines == ["a", "***", "***", "***", "***", "b"]
    assert end.tail == tuple(lines)


def test_of_a_flood_the_beginning_and_the_end_are_logged() -> None:
    lines: list[str] = []
    fed(output(lines=lines), *(b"line %d\n" % n for n in range(LOGGED_LINES + 1000)))
    assert len(lines) == LOGGED_LINES + 1 + TAIL_LINES
    assert lines[LOGGED_LINES - 1] == f"line {LOGGED_LINES - 1}"
    assert lines[LOGGED_LINES] == "1000 more lines were not logged; the last of them:"
    assert lines[-1] == f"line {LOGGED_LINES + 999}"


A, B = "a" * 40, "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", {}),
        (f"CODE_COMMIT={A}\nDOCS_COMMIT={B}\n".encode(), {"CODE_COMMIT": A, "DOCS_COMMIT": B}),
        (f"CODE_COMMIT={B}\r\n CODE_COMMIT = {A} ".encode(), {"CODE_COMMIT": A}),
        (f"CODE_COMMIT={A}\nCODE_COMMIT=oops\n".encode(), {"CODE_COMMIT": A}),
        (f"OTHER={A}\ncode_commit={A}\nCODE_COMMIT\n=\n".encode(), {}),
        (b"CODE_COMMIT=" + b"a" * 39, {}),
        (b"CODE_COMMIT=" + b"a" * 65, {}),
        (b"CODE_COMMIT=" + b"A" * 40, {}),
        (b"\xff\xfe\x00CODE_COMMIT=\n" + f"DOCS_COMMIT={A}".encode(), {"DOCS_COMMIT": A}),
        (b"#" * OUTPUTS_BYTES + f"\nCODE_COMMIT={A}".encode(), {}),
    ],
)
def test_valid_facts_are_read(content: bytes, facts: dict[str, str]) -> None:
    assert read_outputs(content).facts == facts


@pytest.mark.parametrize(
    ("content", "ignored"),
    [
        (f"\n \r\nCODE_COMMIT={A}\n".encode(), ()),
        (b"CODE_COMMIT=abc1234\n", ("CODE_COMMIT=abc1234",)),
        (f"code_commit={A}\r\n  just text \nDOCS_COMMIT={A}".encode(), (f"code_commit={A}", "just text")),
        (b"x" * 1000, ("x" * 200,)),
        (b"a\nb\nc\nd\ne\nf\n", ("a", "b", "c", "d", "e")),
    ],
)
def test_invalid_lines_are_reported(content: bytes, ignored: tuple[str, ...]) -> None:
    assert read_outputs(content).ignored == ignored

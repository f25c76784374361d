"""The log of an attempt: what is kept, what is left out, and what a secret looks like in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from projectsetup.setup.log import UNCOUNTED, WHOLE_SHARE, AttemptLog
from projectsetup.setup.scrub import Scrubber
from tests.support.log_database import LogDatabase

AT = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = 64 * 1024


def numbered(first: int, last: int) -> bytes:
    return b"".join(b"line %06d\n" % number for number in range(first, last))


def test_what_fits_is_kept_whole_and_in_order() -> None:
    log, database = AttemptLog(LIMIT), LogDatabase()
    log.add("one", numbered(0, 10), at=AT)
    database.store(log)
    log.add("one", numbered(10, 20), at=AT)
    log.add("two", numbered(20, 30), at=AT + timedelta(seconds=5))
    log.close()
    database.store(log)
    assert database.text.encode() == numbered(0, 30)
    assert list(database.steps.values()) == ["one", "one", "two"]
    assert database.batch is not None
    assert database.batch.lines_left_out == 0
    assert log.take() is None


@pytest.mark.parametrize("stored_after", [10**9, 5000, 300], ids=["once at the end", "now and then", "often"])
@pytest.mark.parametrize("chunk", [1, 50, 2000], ids=["a line at a time", "some lines", "many lines"])
def test_of_much_output_head_and_tail_are_kept_and_the_rest_is_counted(stored_after: int, chunk: int) -> None:
    log, database, total = AttemptLog(LIMIT), LogDatabase(), 40_000
    since = 0
    for first in range(0, total, chunk):
        log.add("one", numbered(first, first + chunk), at=AT)
        since += chunk
        if since >= stored_after:
            since = 0
            database.store(log)
    log.close()
    database.store(log)
    database.store(log)
    lines = database.text.splitlines()
    assert database.batch is not None
    assert len(lines) + database.batch.lines_left_out == total
    tail_from = database.batch.tail_from
    assert tail_from is not None
    head = "".join(text for number, text in sorted(database.rows.items()) if number < tail_from)
    tail = database.text.removeprefix(head)
    assert head.encode() == numbered(0, head.count("\n"))
    assert tail.encode() == numbered(total - tail.count("\n"), total)
    assert LIMIT // 4 * 0.9 < len(head) <= LIMIT // 4
    assert LIMIT * 3 // 4 * 0.9 < len(tail) <= LIMIT * 3 // 4


def test_a_batch_is_the_same_until_it_is_stored() -> None:
    log = AttemptLog(LIMIT)
    log.add("one", b"a\n", at=AT)
    first = log.take()
    log.add("one", b"b\n", at=AT)
    assert log.take() is first
    log.stored()
    second = log.take()
    assert second is not None
    assert [row.text for row in second.rows] == ["b\n"]


@pytest.mark.parametrize("lines", [1, 100, 400, 1000])
def test_memory_is_bounded_while_nothing_is_stored(lines: int) -> None:
    """However many lines come at once, and although the first of them are divided only when they are stored."""
    log, database = AttemptLog(LIMIT), LogDatabase()
    for first in range(0, 200_000, lines):
        log.add("one", numbered(first, first + lines), at=AT)
    held = sum(len(piece.data) for piece in (*log._head, *log._tail))
    assert held <= LIMIT + LIMIT // WHOLE_SHARE
    log.close()
    database.store(log)
    assert LIMIT - 2 * log.piece_bytes <= len(database.text) <= LIMIT
    assert database.text.startswith("line 000000\n")
    assert database.text.endswith("line 199999\n")


@pytest.mark.parametrize("printed", [500, 40_000], ids=["only a head", "head and tail"])
def test_another_operator_continues_a_log(printed: int) -> None:
    log, database = AttemptLog(LIMIT), LogDatabase()
    log.step_began("one", AT)
    for first in range(0, printed, 100):
        log.add("one", numbered(first, first + 100), at=AT, position={"line": first + 100})
    log.close()  # so that nothing is held back
    database.store(log)
    successor = AttemptLog(LIMIT)
    successor.restore(database.stored_log())
    assert successor.position == {"line": printed}
    assert [step.name for step in successor.steps] == ["one"]
    for first in range(printed, printed + 40_000, 100):
        successor.add("one", numbered(first, first + 100), at=AT)
        database.store(successor)
    successor.close()
    database.store(successor)
    lines = database.text.splitlines()
    assert database.batch is not None
    assert len(lines) + database.batch.lines_left_out == printed + 40_000
    assert len(set(lines)) == len(lines)
    assert len(database.text) <= LIMIT


@pytest.mark.parametrize("stored_after", [10**9, 300], ids=["once at the end", "often"])
@pytest.mark.parametrize("follow", [100, 40_000], ids=["few lines follow", "many lines follow"])
def test_a_gap_of_unknown_size_is_never_forgotten(stored_after: int, follow: int) -> None:
    log, database = AttemptLog(LIMIT), LogDatabase()
    log.add("one", numbered(0, 3000), at=AT)
    log.add_missing("one", "some is missing here", position={"line": 3000})
    since = 0
    for first in range(3000, 3000 + follow, 100):
        log.add("one", numbered(first, first + 100), at=AT)
        since += 100
        if since >= stored_after:
            since = 0
            database.store(log)
    log.close()
    database.store(log)
    said = [line for line in database.text.splitlines() if not line.startswith("line ")]
    assert said == ["some is missing here" if follow == 100 else UNCOUNTED.decode().strip()]
    assert len(database.text) <= LIMIT


SECRET = "correct-horse-battery-staple"


def test_a_secret_is_hidden_even_if_it_is_cut_between_two_batches() -> None:
    log, database = AttemptLog(LIMIT, scrubber=Scrubber([SECRET])), LogDatabase()
    for line in ("begin", SECRET[:17], SECRET[17:], "end"):
        log.add("one", f"{line}\n".encode(), at=AT)
        database.store(log)
    log.close()
    database.store(log)
    assert database.text == "begin\n***\n***\nend\n"


def test_nothing_is_kept_with_a_limit_of_0_but_the_times_of_the_steps() -> None:
    log = AttemptLog(0)
    log.step_began("one", AT)
    log.add("one", b"text\n")
    log.step_began("two", AT + timedelta(seconds=2))
    log.close(AT + timedelta(seconds=3))
    assert log.take() is None
    assert [(step.name, step.ended and step.ended - step.began) for step in log.steps] == [
        ("one", timedelta(seconds=2)),
        ("two", timedelta(seconds=1)),
    ]


def test_a_line_without_end_is_cut_and_control_characters_are_removed() -> None:
    log, database = AttemptLog(LIMIT), LogDatabase()
    log.add("one", b"x" * 100_000 + b"\n\x1b[31mred\x1b[0m \x07bell\n\x1b]0;title\nnext\n\xff\xfe\n", at=AT)
    log.close()
    database.store(log)
    lines = database.text.split("\n")
    assert (len(lines[0]), lines[1:]) == (8192, ["red bell", "", "next", "\ufffd\ufffd", ""])

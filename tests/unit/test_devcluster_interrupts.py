"""Signals are deferred while a process is started, until its id is recorded."""

from __future__ import annotations

import signal

import pytest

from devcluster.processes import defer_signals


def test_a_signal_is_deferred_to_the_end_of_the_block() -> None:
    reached = []

    def block() -> None:
        with defer_signals():
            signal.raise_signal(signal.SIGINT)
            reached.append("end")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == ["end"]


def test_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with defer_signals():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_error_in_the_block_is_raised() -> None:
    with pytest.raises(ValueError, match="why"), defer_signals():
        raise ValueError("why")

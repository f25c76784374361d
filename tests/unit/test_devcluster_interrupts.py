"""A signal that arrives in the middle of starting a process waits until its number is written down."""

from __future__ import annotations

import signal

import pytest

from devcluster.interrupts import undisturbed


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    reached = []

    def block() -> None:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            reached.append("end")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == ["end"]


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with undisturbed():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_error_of_the_block_is_not_lost() -> None:
    with pytest.raises(ValueError, match="why"), undisturbed():
        raise ValueError("why")

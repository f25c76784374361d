"""The delay before the next attempt."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.controller.outcome import retry_delay

delays = st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=365))


@pytest.mark.parametrize(
    ("failed_attempt", "seconds"),
    [(1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 480), (7, 600), (20, 600)],
)
def test_doubles_up_to_the_cap(failed_attempt: int, seconds: int) -> None:
    delay = retry_delay(failed_attempt, backoff=timedelta(seconds=15), backoff_max=timedelta(minutes=10), jitter=0.0)
    assert delay == timedelta(seconds=seconds)


@given(failed_attempt=st.integers(1, 20), backoff=delays, backoff_max=delays, jitter=st.floats(0, 1))
def test_never_less_and_at_most_a_tenth_more(
    failed_attempt: int, backoff: timedelta, backoff_max: timedelta, jitter: float
) -> None:
    least = min(backoff * 2 ** (failed_attempt - 1), backoff_max)
    delay = retry_delay(failed_attempt, backoff=backoff, backoff_max=backoff_max, jitter=jitter)
    assert least <= delay <= least * 1.1 + timedelta(microseconds=1)


def test_a_cap_below_the_first_delay_holds_at_once() -> None:
    delay = retry_delay(1, backoff=timedelta(minutes=1), backoff_max=timedelta(seconds=5), jitter=0.0)
    assert delay == timedelta(seconds=5)

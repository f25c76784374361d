from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from projectsetup.api.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("1m30s", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("1.5h", timedelta(minutes=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("0h0.1s", timedelta(milliseconds=100)),
        ("30m10s500ms", timedelta(minutes=30, seconds=10, milliseconds=500)),
        ("1s1s", timedelta(seconds=2)),
        ("0.0001ms", timedelta(microseconds=1)),  # rounded up
        ("0.00000000000000000000000000001s", timedelta(microseconds=1)),
    ],
)
def test_reads_go_durations(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "0h0m0.0s", "15", "-5s", "1d", "5us", "s", "1h 5m", "5s\n", "٣s", "1" * 99]
)
def test_refuses_anything_else_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration greater than 0 such as 90s, 1m30s or 2h") as refusal:
        parse_duration(text)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(seconds=15), "15s"),
        (timedelta(minutes=30), "30m"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(days=1, minutes=5), "24h5m"),
        (timedelta(milliseconds=500), "500ms"),
        (timedelta(milliseconds=1500), "1.5s"),
        (timedelta(hours=1, microseconds=250), "1h0.25ms"),
    ],
)
def test_writes_go_durations(duration: timedelta, expected: str) -> None:
    assert format_duration(duration) == expected


@given(st.from_regex(r"([0-9]{1,9}(\.[0-9]{0,9})?(h|m|s|ms)){1,4}", fullmatch=True) | st.text(max_size=40))
@example("5000000h5000000h")
@example("9999999h9999999h9999999h99.9999h")
@example("9999999h9999999h9999999h9999999h")
def test_parsed_durations_are_positive_and_read_back(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert duration > timedelta(0)
    again = parse_duration(format_duration(duration))
    assert again == duration or timedelta(hours=10_000_000) <= duration < again < duration + timedelta(hours=1)

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.api.annotations import InvalidAnnotation, Tuning, parse_annotations
from tests.support.annotation_cases import ACCEPTED, PREFIX, REFUSED


def test_all_have_defaults() -> None:
    expected = Tuning(1, 3, timedelta(seconds=15), timedelta(minutes=10), None, None)
    assert parse_annotations(None) == parse_annotations({}) == parse_annotations({"other/priority": "x"}) == expected


def test_all_are_read() -> None:
    annotations = {
        "priority": "0",
        "max-attempts": "20",
        "backoff": "1m30s",
        "backoff-max": "2h",
        "retry-requested-at": "now",
        "cancel-requested-at": "then",
    }
    expected = Tuning(0, 20, timedelta(seconds=90), timedelta(hours=2), "now", "then")
    assert parse_annotations({PREFIX + name: value for name, value in annotations.items()}) == expected


@pytest.mark.parametrize(("name", "value"), ACCEPTED)
def test_accepts(name: str, value: str) -> None:
    assert isinstance(parse_annotations({PREFIX + name: value}), Tuning)


@pytest.mark.parametrize("name", ["retry-requested-at", "cancel-requested-at"])
def test_an_empty_request_is_no_request(name: str) -> None:
    assert parse_annotations({PREFIX + name: ""}) == Tuning()


@pytest.mark.parametrize(("name", "value", "allowed"), REFUSED)
def test_a_refusal_names_annotation_value_and_rule(name: str, value: str, allowed: str) -> None:
    with pytest.raises(InvalidAnnotation) as refusal:
        parse_annotations({PREFIX + name: value})
    message = str(refusal.value)
    assert message.startswith(f"annotation {PREFIX}{name} is {value[:50]!r}"[:-1])
    assert message.endswith(allowed)
    assert len(message.splitlines()) == 1
    assert len(message) < 300


@given(st.dictionaries(st.sampled_from([name for name, _ in ACCEPTED]), st.text() | st.integers() | st.none()))
def test_junk_raises_only_invalid_annotation(junk: dict[str, str]) -> None:
    try:
        tuning = parse_annotations({PREFIX + name: value for name, value in junk.items()})
    except InvalidAnnotation:
        return
    assert 0 <= tuning.priority <= 9
    assert 1 <= tuning.max_attempts <= 20
    assert min(tuning.backoff, tuning.backoff_max) > timedelta(0)

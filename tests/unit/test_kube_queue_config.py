"""What the queue's ConfigMap asks for."""

from __future__ import annotations

import pytest

from projectsetup.api.limits import Limits
from projectsetup.kube.queue_config import MAX_CONCURRENCY, QueueControl, parse_queue_control


@pytest.mark.parametrize(
    ("data", "control"),
    [
        (None, QueueControl()),
        ({}, QueueControl()),
        ({"paused": "true"}, QueueControl(paused=True)),
        ({"paused": " True\n"}, QueueControl(paused=True)),
        ({"paused": "false", "concurrency": "8"}, QueueControl(concurrency=8)),
        ({"concurrency": "0"}, QueueControl(concurrency=0)),
        ({"concurrency": f" {MAX_CONCURRENCY} "}, QueueControl(concurrency=MAX_CONCURRENCY)),
        ({"concurrency": ""}, QueueControl()),
        ({"concurrencyPerNamespace": "2"}, QueueControl(limits=Limits(2))),
        ({"concurrencyPerRecipe": "a: 1\n\n b:20 \n"}, QueueControl(limits=Limits(None, {"a": 1, "b": 20}))),
        ({"pausedRecipes": "a, b\nc"}, QueueControl(limits=Limits(paused_recipes=frozenset("abc")))),
    ],
)
def test_what_is_understood(data: dict[str, str] | None, control: QueueControl) -> None:
    assert parse_queue_control(data) == (control, None)


LAST = QueueControl(True, 8, Limits(2, {"a": 1}, frozenset({"b"})))
NUMBER = "a number from 0 to 1000 is allowed"
LINES = "lines such as `python-service: 2`, with a number from 0 to 1000, are allowed"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("paused", "yes\nplease", "is 'yes\\nplease': true or false is allowed"),
        ("paused", "", "is '': true or false is allowed"),
        *(
            ("concurrency", value, f"is {value[:40]!r}: {NUMBER}")
            for value in ("-1", "1.5", "many", "²", "٣", str(MAX_CONCURRENCY + 1), "9" * 5000)
        ),
        ("concurrencyPerNamespace", "two", f"is 'two': {NUMBER}"),
        ("concurrencyPerRecipe", "a: 5\nb", f"has the line 'b': {LINES}"),
        ("concurrencyPerRecipe", "a: 5\nC: 1", f"has the line 'C: 1': {LINES}"),
        ("concurrencyPerRecipe", "a: two", f"has the line 'a: two': {LINES}"),
        ("concurrencyPerRecipe", "a: 5\na: 6", "has several lines for a: one is allowed"),
        ("pausedRecipes", "a # broken", "has '#': names of recipes are allowed"),
    ],
)
def test_an_invalid_value_is_reported_and_leaves_its_setting_as_it_was(key: str, value: str, problem: str) -> None:
    valid = {
        "paused": "true",
        "concurrency": "8",
        "concurrencyPerNamespace": "2",
        "concurrencyPerRecipe": "a: 1",
        "pausedRecipes": "b",
    }
    assert parse_queue_control(valid) == (LAST, None)
    assert parse_queue_control(valid | {key: value}, LAST) == (LAST, f"{key} {problem}")


def test_nothing_starts_while_a_setting_was_never_valid() -> None:
    typo = {"concurrencyPerNamespace": "two", "concurrency": "x", "paused": "false"}
    control, problem = parse_queue_control(typo)
    assert (control.unknown, control.starts_nothing) == (frozenset({"concurrencyPerNamespace", "concurrency"}), True)
    assert problem == f"concurrency is 'x': {NUMBER}; concurrencyPerNamespace is 'two': {NUMBER}"
    control, _ = parse_queue_control(typo | {"concurrency": "4"}, control)
    assert (control.concurrency, control.unknown) == (4, frozenset({"concurrencyPerNamespace"}))
    control, problem = parse_queue_control(typo | {"concurrencyPerNamespace": "2"}, control)
    assert control == QueueControl(concurrency=4, limits=Limits(2))
    assert (control.starts_nothing, problem) == (False, f"concurrency is 'x': {NUMBER}")
    assert parse_queue_control({}, control) == (QueueControl(), None)


def test_an_unknown_key_is_reported_and_changes_nothing() -> None:
    control, problem = parse_queue_control({"concurency": "2", "paused": "true"})
    assert control == QueueControl(paused=True)
    assert problem == (
        "there is no key 'concurency': "
        "the keys are concurrency, concurrencyPerNamespace, concurrencyPerRecipe, paused, pausedRecipes"
    )

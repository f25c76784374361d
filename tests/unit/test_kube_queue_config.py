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
        ({"somebody": "else's"}, QueueControl()),
        ({"concurrencyPerNamespace": "2"}, QueueControl(limits=Limits(2))),
        ({"concurrencyPerRecipe": "a: 1\n\n b:20 \n"}, QueueControl(limits=Limits(None, {"a": 1, "b": 20}))),
        ({"pausedRecipes": "a, b\nc"}, QueueControl(limits=Limits(paused_recipes=frozenset("abc")))),
    ],
)
def test_what_is_understood(data: dict[str, str] | None, control: QueueControl) -> None:
    assert parse_queue_control(data) == (control, None)


@pytest.mark.parametrize("concurrency", ["-1", "1.5", "many", "²", "٣", str(MAX_CONCURRENCY + 1), "9" * 5000])
def test_an_invalid_concurrency_is_ignored_and_reported_in_one_short_line(concurrency: str) -> None:
    control, problem = parse_queue_control({"paused": "true", "concurrency": concurrency})
    assert control == QueueControl(paused=True)
    assert problem is not None
    assert problem.startswith("concurrency is '")
    assert problem.endswith("': a number from 0 to 1000 is allowed")
    assert len(problem) < 120


def test_an_invalid_pause_is_ignored_and_both_problems_are_reported() -> None:
    control, problem = parse_queue_control({"paused": "yes\nplease", "concurrency": "x"})
    assert control == QueueControl()
    assert problem == (
        "paused is 'yes\\nplease': true or false is allowed; concurrency is 'x': a number from 0 to 1000 is allowed"
    )


def test_of_invalid_limits_the_valid_ones_count_and_each_other_is_reported() -> None:
    data = {"concurrencyPerNamespace": "-", "concurrencyPerRecipe": "a: 1\nb\nC: 1", "pausedRecipes": "a $b"}
    control, problem = parse_queue_control(data)
    assert control == QueueControl(limits=Limits(None, {"a": 1}, frozenset("a")))
    lines = "lines such as `python-service: 2`, with a number from 0 to 1000, are allowed"
    assert problem == (
        "concurrencyPerNamespace is '-': a number from 0 to 1000 is allowed; "
        f"concurrencyPerRecipe has the line 'b': {lines}; concurrencyPerRecipe has the line 'C: 1': {lines}; "
        "pausedRecipes has '$b': names of recipes are allowed"
    )

"""Which failures of a run of the tests get a second try."""

from __future__ import annotations

import pytest

from tests.second_try import may_be_luck

NODE = "tests/node/test_node.py::test_a tests/node/test_node.py"


@pytest.mark.parametrize(
    ("failed", "luck"),
    [
        ([NODE], True),
        ([NODE] * 5, True),
        ([NODE, *(f"tests/node/test_{name}.py::test_a x" for name in "ab")], True),
        ([NODE, *(f"tests/node/test_{name}.py::test_a x" for name in "abc")], False),
        ([], False),
        ([NODE, "tests/unit/test_settings.py::test_a tests/unit/test_settings.py"], False),
        (["tests/chaos/test_outages.py::test_a /somewhere/tests/chaos/verdict.py"], False),
        (["tests/chaos/test_outages.py::test_a /somewhere/tests/chaos/keeper.py"], True),
    ],
)
def test_a_broken_promise_and_pure_code_get_none(failed: list[str], luck: bool) -> None:
    assert may_be_luck(failed) is luck

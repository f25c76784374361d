"""The facts that a step tells."""

from __future__ import annotations

import pytest

from projectsetup.setup.outputs import OUTPUTS_BYTES, read_outputs

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
def test_facts_that_are_known_and_well_formed_are_taken(content: bytes, facts: dict[str, str]) -> None:
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
def test_lines_that_are_not_understood_are_named(content: bytes, ignored: tuple[str, ...]) -> None:
    assert read_outputs(content).ignored == ignored

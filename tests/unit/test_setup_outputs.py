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
    assert read_outputs(content) == facts

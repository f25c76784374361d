"""What of a step's output gets into its message."""

from __future__ import annotations

import pytest

from projectsetup.setup.message import MESSAGE_LENGTH, message_with_output

DECLINED = (
    "Cloning",
    "remote: Enumerating objects: 3, done.",
    "remote: ========================",
    "remote: commits need a ticket number, see https://wiki.example/tickets",
    "remote:",
    "remote: yours has none",
    "To https://git.example/app.git",
    " ! [remote rejected] main -> main (pre-receive hook declined)",
    "error: failed to push some refs",
)


@pytest.mark.parametrize(
    ("tail", "told"),
    [
        ((), "; it printed nothing"),
        (("", "@@@@@@", " == "), "; it printed nothing"),
        (("a", "b"), ": a | b"),
        (("1", "2", "3", "4", "5", "6"), ": 2 | 3 | 4 | 5 | 6"),
        (
            ("@@@@@", "@  WARNING: HOST IDENTIFICATION HAS CHANGED!  @"),
            ": @ WARNING: HOST IDENTIFICATION HAS CHANGED! @",
        ),
        (
            DECLINED,
            (
                ": remote: commits need a ticket number, see https://wiki.example/tickets | remote: yours has none"
                " | Cloning | To https://git.example/app.git | ! [remote rejected] main -> main (pre-receive hook"
                " declined) | error: failed to push some refs"
            ),
        ),
        (("remote: no", *"123456789"), ": remote: no | 5 | 6 | 7 | 8 | 9"),
    ],
)
def test_the_server_speaks_first(tail: tuple[str, ...], told: str) -> None:
    assert message_with_output("step push failed", tail) == f"step push failed{told}"


def test_neither_the_beginning_of_what_the_server_says_nor_the_end_of_the_rest_is_cut() -> None:
    message = message_with_output("step push failed", (f"remote: begin {'x' * 2000} end", f"begin {'y' * 2000} end"))
    assert len(message) == MESSAGE_LENGTH
    assert message.startswith("step push failed: remote: begin xxx")
    assert "x… | …y" in message
    assert message.endswith("yyy end")

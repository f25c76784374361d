"""Valid and invalid annotations: one table for the parser of the operator and the admission policy of the cluster."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "setup.codemyspec.com/"

DURATION: Final = "must be a duration greater than 0 such as 90s, 1m30s or 2h"

NO_DURATIONS: Final = "0 0s 0h0m0.0s 15 -5s +5s 1d s .5s 1.s 1h-5m soon"

ACCEPTED: Final = [
    *(("priority", str(number)) for number in range(10)),
    *(("max-attempts", number) for number in ("1", "2", "9", "10", "19", "20")),
    *(("backoff", text) for text in ("90s", "1m30s", "2h", "1.5h", "500ms", "0.5ms", "0h1s", "10s10s", "1800000ms")),
    *(("backoff-max", text) for text in ("10m", "0.1s", "0000001s")),
    *(
        ("retry-requested-at", text)
        for text in ("2026-11-24T12:00:00Z", "again", "", "x" * 256, "é" * 256, "two\nlines")
    ),
    *(("cancel-requested-at", text) for text in ("1", "x" * 256)),
    ("priorty", "a misspelt or unknown annotation is left alone"),
]
"""Name without prefix, and value."""

REFUSED: Final = [
    *(
        ("priority", value, "must be 0 to 9 (0 starts first)")
        for value in ("", "10", "-1", "01", " 1", "1 ", "1.0", "high", "٣", "1\n", "x" * 6000)
    ),
    *(("max-attempts", value, "must be 1 to 20") for value in ("", "0", "21", "100", "-3", "3.0", "03", "many", "5\n")),
    *(
        (name, value, DURATION)
        for name in ("backoff", "backoff-max")
        for value in ("", "1 s", "5s\n", *NO_DURATIONS.split())
    ),
    *(("backoff", value, DURATION) for value in ("12345678s", "1s" * 17, "1" * 6000)),
    *((name, "x" * 257, "must have at most 256 characters") for name in ("retry-requested-at", "cancel-requested-at")),
]
"""Name without prefix, value, and the end of the message."""

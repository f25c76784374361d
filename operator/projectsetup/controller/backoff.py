"""The delay before the next attempt."""

from __future__ import annotations

import math
from datetime import timedelta

JITTER = 0.10
"""The largest share of a delay that is added to it, so that many failures of one cause do not come back as one."""


def retry_delay(failed_attempt: int, *, backoff: timedelta, backoff_max: timedelta, luck: float) -> timedelta:
    """Delay after `failed_attempt` (1 is the first): min(backoff * 2^(n-1), backoff_max) plus 0 to 10 %, never less.

    `luck` is a number from 0 to 1 that picks the jitter.
    """
    if failed_attempt < 1:
        raise ValueError(f"attempts are counted from 1, not {failed_attempt}")
    growth = min(2 ** (failed_attempt - 1), math.ceil(backoff_max / backoff))
    delay: timedelta = min(backoff * growth, backoff_max)
    return delay * (1 + JITTER * luck)

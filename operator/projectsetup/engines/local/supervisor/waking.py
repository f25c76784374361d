"""Signals as something to poll for, beside channels."""

from __future__ import annotations

import os
import signal


def wake_on(*numbers: signal.Signals) -> int:
    """A file descriptor from which the numbers of these signals can be read once they have come; it never blocks.

    There is one a process: that of the parent is of no use in a fork.
    """
    reading, writing = os.pipe()
    for fd in (reading, writing):
        os.set_blocking(fd, False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading

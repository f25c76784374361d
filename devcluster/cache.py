"""Where what was built is kept for this user, and that two builds at once build once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def user_cache(name: str) -> Path:
    """The folder `name` below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name


@contextmanager
def only_one_build(cache: Path, *, teller: str) -> Iterator[None]:
    """Hold the lock of this cache, which is made where it is missing; `teller` says so when it has to wait."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{teller}: waiting for the build that somebody else has begun", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield

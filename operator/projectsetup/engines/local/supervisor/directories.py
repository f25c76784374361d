"""The directories of supervisors below the workspace root: one each, marked as in use by a lock that dies with it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

from projectsetup.engines.local.supervisor.trees import remove_tree

PREFIX = "projectsetup-"
LOCK = "lock"


def make_own(root: str) -> tuple[str, int]:
    """A new directory, and the file descriptor that marks it as in use. Raises OSError.

    It gets its name when it is locked: under that name, a directory that is not locked belongs to nobody alive.
    """
    token = os.urandom(5).hex()
    new, own = f"{root}/.{PREFIX}{token}", f"{root}/{PREFIX}{token}"
    os.mkdir(new, 0o700)
    lock = os.open(f"{new}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.rename(new, own)
    return own, lock


def all_below(root: str) -> list[str]:
    """The directories of all supervisors, whoever they belong to."""
    with os.scandir(root) as entries:
        return [entry.path for entry in entries if entry.name.lstrip(".").startswith(PREFIX)]


def abandoned(root: str) -> dict[str, int]:
    """Directories of this user whose supervisor is dead, each with the lock that makes it ours to remove."""
    found: dict[str, int] = {}
    for entry in list(os.scandir(root)):
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if entry.name.startswith(PREFIX) and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                lock = _take_lock(f"{entry.path}/{LOCK}")
                if lock is not None:
                    found[entry.path] = lock
    return found


def remove_own(directory: str) -> None:
    """Remove a supervisor's directory, its lock last: what is left after an interruption is found again."""
    with contextlib.suppress(OSError):
        remove_tree(directory, keep=(LOCK,))
    with contextlib.suppress(OSError):
        remove_tree(directory)


def _take_lock(path: str) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock

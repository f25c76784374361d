"""Landlock: an unprivileged thread restricts itself, and all that it starts, to certain files and processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Final

FIRST_ABI: Final = 2
"""Version 1 forbids all moves and links from one directory to another."""
_TRUNCATE_ABI: Final = 3
_SCOPES_ABI: Final = 6

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 14
_DIRECTORY_RIGHTS: Final = sum(1 << bit for bit in range(3, 14))
"""List a directory, and remove, make, move and link its entries."""
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1

_libc = ctypes.CDLL(None, use_errno=True)


@cache
def abi() -> int:
    """The version of Landlock that this kernel supports; 0 when it has none that is usable."""
    try:
        version = _call(_CREATE_RULESET, 0, 0, _GET_VERSION)
    except OSError:
        return 0
    return version if version >= FIRST_ABI else 0


def new_rules(hidden: Collection[str], visible: Iterable[str]) -> int:
    """A file descriptor for `enter_domain`. Raises OSError.

    Inside a domain of these rules nothing below the paths in `hidden` can be listed, read, changed or executed, except
    below those in `visible`, which are directories. A directory above a hidden path cannot be listed or get new
    entries; access to its other present entries does not change. Processes outside the domain cannot be traced or
    inspected and, from version 6 on, not signalled. All paths are absolute and without symbolic links.
    """
    rights = _EXECUTE | _WRITE_FILE | _READ_FILE | _DIRECTORY_RIGHTS
    if abi() >= _TRUNCATE_ABI:
        rights |= _TRUNCATE
    scopes = (0, _ABSTRACT_SOCKETS | _SIGNALS) if abi() >= _SCOPES_ABI else ()
    attributes = struct.pack(f"={1 + len(scopes)}Q", rights, *scopes)
    rules = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for entry in _beside(hidden):
            _allow(rules, entry.path, rights if entry.is_dir() else rights & ~_DIRECTORY_RIGHTS)
        for path in visible:
            _allow(rules, path, rights)
    except BaseException:
        os.close(rules)
        raise
    return rules


def enter_domain(rules: int) -> None:
    """Confine this thread for good to a new domain. Raises OSError. Requires `kernel.give_up_new_privileges`.

    Two domains of the same rules are as separate as any others.
    """
    _call(_RESTRICT_SELF, rules, 0)


def _beside(hidden: Collection[str]) -> Iterator[os.DirEntry[str]]:
    """The topmost entries that are neither hidden nor above something hidden."""
    above = {parent for path in hidden for parent in _parents(path)}
    excluded = above.union(hidden)
    for directory in above:
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.path not in excluded and not entry.is_symlink():
                    yield entry


def _parents(path: str) -> Iterator[str]:
    while path != "/":
        path = os.path.dirname(path)
        yield path


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # removed since it was listed
    try:
        _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, beneath), 0)
    finally:
        os.close(beneath)


def _call(number: int, *arguments: int | bytes) -> int:
    passed = [value if isinstance(value, bytes) else ctypes.c_long(value) for value in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *passed)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result

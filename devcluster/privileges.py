"""Running a program that refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError

NOBODY: Final = "nobody"
WAYS_IN: Final = {"dac_read_search": 2, "dac_override": 1}
"""Capabilities with which a program reaches its files below folders that are root's alone, and their bits."""


def as_ordinary_user(command: list[str]) -> list[str]:
    """`command`, or for root a command that runs it as nobody, who may still read what root may."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        raise DevclusterError(
            "PostgreSQL does not run as root, and setpriv (util-linux) is not installed to leave root"
        )
    try:
        account = pwd.getpwnam(NOBODY)
    except KeyError as error:
        raise DevclusterError(f"PostgreSQL does not run as root: a user {NOBODY} is needed") from error
    identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return ["setpriv", *identity, *_way_in(Path("/proc/self/status").read_text()), "--", *command]


def _way_in(status: str) -> list[str]:
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    for name, bit in WAYS_IN.items():
        if effective >> bit & 1:
            return [f"--inh-caps=+{name}", f"--ambient-caps=+{name}"]
    return []

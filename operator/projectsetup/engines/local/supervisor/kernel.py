"""Linux system calls and files that the standard library does not cover."""

from __future__ import annotations

import contextlib
import ctypes
import os
from functools import cache

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_OOM_KILL = b"oom_kill"

_DAC_READ_SEARCH, _SYS_MODULE, _SYS_RAWIO, _SYS_PTRACE, _SYS_ADMIN = 2, 16, 17, 19, 21
_PERFMON, _BPF, _CHECKPOINT_RESTORE = 38, 39, 40
_ESCAPING_CAPABILITIES = (
    *(_DAC_READ_SEARCH, _SYS_MODULE, _SYS_RAWIO, _SYS_PTRACE, _SYS_ADMIN),
    *(_PERFMON, _BPF, _CHECKPOINT_RESTORE),
)

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Orphans among this process's descendants become its children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def signal_on_parent_death(number: int, parent: int) -> bool:
    """Ask the kernel for signal `number` when the parent ends. False: it has already ended, and no signal will come."""
    _prctl(_PR_SET_PDEATHSIG, number)
    return os.getppid() == parent


def give_up_new_privileges() -> None:
    """No program started from here gains rights through a setuid bit, so every one of them can be signalled."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def withhold_capabilities() -> None:
    """Programs that root starts from here cannot inspect other processes or bypass Landlock."""
    if os.geteuid() == 0:
        for capability in _ESCAPING_CAPABILITIES:
            with contextlib.suppress(OSError):  # root without CAP_SETPCAP, or an old kernel
                _prctl(_PR_CAPBSET_DROP, capability)


def refuse_inspection() -> None:
    """Other processes of this user, such as steps, can read neither the memory nor the environment of this one."""
    _prctl(_PR_SET_DUMPABLE, 0)


def prefer_for_oom_kill() -> None:
    """When memory runs out, the kernel kills this process and its children before the operator."""
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"500")
    except OSError:
        return  # an old kernel or a sandbox without this file


def oom_kills() -> int:
    """Number of OOM kills so far: in this cgroup where the kernel counts them, else on the whole machine."""
    counter = _oom_counter()
    words = _read(counter).split() if counter else []
    return int(words[words.index(_OOM_KILL) + 1]) if _OOM_KILL in words else 0


@cache
def _oom_counter() -> str | None:
    own = next((line[3:] for line in _read("/proc/self/cgroup").splitlines() if line.startswith(b"0::")), b"/")
    candidates = (f"/sys/fs/cgroup{os.fsdecode(own).rstrip('/')}/memory.events", "/proc/vmstat")
    return next((path for path in candidates if _OOM_KILL in _read(path).split()), None)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""The life of a supervisor."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
from collections.abc import Sequence

from projectsetup.engines.local.supervisor import landlock, protocol
from projectsetup.engines.local.supervisor.directories import abandoned, make_own, remove_own
from projectsetup.engines.local.supervisor.kernel import become_subreaper, oom_kills
from projectsetup.engines.local.supervisor.leftovers import kill_leftovers
from projectsetup.engines.local.supervisor.loop import Supervisor
from projectsetup.engines.local.supervisor.shell import signals_of_the_supervisor


def main(arguments: Sequence[str]) -> int:
    """Clear away what dead operators have left, serve the one that started this process, and leave nothing behind."""
    channel, root = socket.socket(fileno=int(arguments[1])), arguments[2]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the operator decides, and its end is noticed
    become_subreaper()
    try:
        left = abandoned(root)
        killed = kill_leftovers(left)
        directory, lock = make_own(root)
        os.chdir(directory)  # a warden that outlives this process and cannot act is known by that
    except OSError as error:
        protocol.send(channel, {"op": "refused", "error": str(error)})
        return 1
    supervisor = Supervisor(channel, directory)
    for path in left:
        supervisor.remove_in_background(path)
    for once_for_all_wardens in (oom_kills, signals_of_the_supervisor, landlock.abi):
        once_for_all_wardens()
    gc.freeze()
    with contextlib.suppress(OSError):  # an operator that is gone already is noticed by the supervisor
        ready = {"op": "ready", "directory": directory, "killed": killed, "left": len(left)}
        protocol.send(channel, {**ready, "landlock": landlock.abi()})
    supervisor.serve()
    supervisor.end_all()
    channel.close()
    for path in (directory, *left):
        remove_own(path)
    for fd in (lock, *left.values()):
        os.close(fd)
    return 0

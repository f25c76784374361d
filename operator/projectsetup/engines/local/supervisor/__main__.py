"""The life of a supervisor. The operator starts it: `python -m projectsetup.engines.local.supervisor FD ROOT`."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence

from projectsetup.engines.local.supervisor import landlock, protocol
from projectsetup.engines.local.supervisor.directories import find_abandoned, make_own, remove_own
from projectsetup.engines.local.supervisor.kernel import become_subreaper, oom_kills
from projectsetup.engines.local.supervisor.loop import Supervisor
from projectsetup.engines.local.supervisor.processes import kill_leftovers
from projectsetup.engines.local.supervisor.step import handled_signals


def main(arguments: Sequence[str]) -> int:
    """Clean up after dead operators, serve the operator that started this process, and leave nothing behind."""
    channel, root = socket.socket(fileno=int(arguments[1])), arguments[2]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the operator decides; this process detects the end of the operator
    become_subreaper()
    try:
        abandoned = find_abandoned(root)
        killed = kill_leftovers(abandoned)
        directory, lock = make_own(root)
        os.chdir(directory)  # identifies a warden that outlives this process and cannot act
    except OSError as error:
        protocol.send(channel, {"op": "refused", "error": str(error)})
        return 1
    supervisor = Supervisor(channel, directory)
    for path in abandoned:
        supervisor.remove_in_background(path)
    for cached_for_all_wardens in (oom_kills, handled_signals, landlock.abi):
        cached_for_all_wardens()
    gc.freeze()
    with contextlib.suppress(OSError):  # serve() detects an operator that has ended
        ready = {"op": "ready", "directory": directory, "killed": killed, "abandoned": len(abandoned)}
        protocol.send(channel, {**ready, "landlock": landlock.abi()})
    supervisor.serve()
    supervisor.kill_everything()
    channel.close()
    for path in (directory, *abandoned):
        remove_own(path)
    for fd in (lock, *abandoned.values()):
        os.close(fd)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""The messages between the operator, the supervisor and its wardens: one JSON object a packet.

From the operator: `beat`; `run` (id, last; fds: steps, the output of each, results); `remove` (id, name; fd: result);
`stop` (id, step: its number, or None for whichever runs); `kill`. From the supervisor: `ready` (directory, killed,
abandoned, landlock) or `refused` (error), once; `beat`; `ended` (id); `killed`. To a warden: `run` and `stop`
unchanged; `remove` (path; fd: result); `clear` (path). From a warden: `done`, except after a `run` marked `last`: then
the warden exits.

Steps are a JSON object in a memfd: directory, folders, outputs, grace, hidden, visible, and commands, each with script
and environment. They run one after another as long as each exits with 0 and none was stopped. A result is a JSON object
in a pipe, one for each step that ran: status, oom, killed, outputs (the path of what it wrote, if it did), continues
(whether the next step follows); or error.
"""

from __future__ import annotations

import json
import os
from array import array
from socket import CMSG_LEN, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET, socket
from typing import Any

HEARTBEAT_INTERVAL = 2.0
"""Seconds between two heartbeats of the operator."""
SILENCE_LIMIT = 8.0
"""Seconds without a message from the operator after which the supervisor kills everything and exits."""
CLOCK_CHECK_INTERVAL = 0.5
"""Seconds between two checks of the silence limit."""
PACKET_BYTES = 4096
MAX_STEPS = 8
"""Steps in one message: each takes a file descriptor."""
_MAX_FDS = MAX_STEPS + 2

Message = dict[str, Any]


def send(channel: socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send one message. Raises OSError: BlockingIOError when it would block, others when the peer is gone."""
    ancillary = [(SOL_SOCKET, SCM_RIGHTS, array("i", fds))] if fds else []
    channel.sendmsg([json.dumps(message).encode()], ancillary)


def receive(channel: socket) -> tuple[Message, list[int]] | None:
    """One message and its file descriptors; None when the peer is gone.

    Raises BlockingIOError when there is no message and the channel does not block.
    """
    fds = array("i")
    try:
        packet, ancillary, _, _ = channel.recvmsg(PACKET_BYTES, CMSG_LEN(_MAX_FDS * fds.itemsize), MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return (json.loads(packet), list(fds)) if packet else None


def write_result(result: int, message: Message) -> None:
    """Write a result to the pipe of its operation, as one line."""
    os.write(result, json.dumps(message).encode() + b"\n")

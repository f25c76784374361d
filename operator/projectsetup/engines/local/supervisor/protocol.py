"""What the operator, the supervisor and its wardens tell each other, one JSON object a packet.

From the operator: `beat`; `run` (id, last; fds: command, output, result); `remove` (id, name; fd: result); `stop` (id);
`kill`. From the supervisor: `ready` (directory, killed, left, landlock) or `refused` (error), once; `beat`; `ended`
(id); `killed`. To a warden: `run` and `stop` as they are; `remove` (path; fd: result); `clear` (path). From a warden:
`done`, unless the step was its `last`: then it ends.

A command is a JSON object in a file of memory: script, environment, directory, grace, hidden, visible. A result is a
JSON object in a pipe: status, oom, killed, or error.
"""

from __future__ import annotations

import json
from array import array
from socket import CMSG_LEN, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET, socket
from typing import Any

BEAT_EVERY = 2.0
"""Seconds between two beats of the operator."""
SILENCE_LIMIT = 8.0
"""Seconds without a word from the operator after which the supervisor ends everything."""
PACKET_BYTES = 4096
_MOST_FDS = 3

Message = dict[str, Any]


def send(channel: socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send one message. Raises OSError: BlockingIOError when it has to wait, others when nobody is there."""
    ancillary = [(SOL_SOCKET, SCM_RIGHTS, array("i", fds))] if fds else []
    channel.sendmsg([json.dumps(message).encode()], ancillary)


def receive(channel: socket) -> tuple[Message, list[int]] | None:
    """One message and its file descriptors; None when the other side is gone.

    Raises BlockingIOError when there is none, and the channel does not block.
    """
    fds = array("i")
    try:
        packet, ancillary, _, _ = channel.recvmsg(PACKET_BYTES, CMSG_LEN(_MOST_FDS * fds.itemsize), MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return (json.loads(packet), list(fds)) if packet else None

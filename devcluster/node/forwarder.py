"""A TCP forwarder, run as a script: forwarder.py ADDRESS PORT TARGET_PORT.

It makes the API server, which listens on 127.0.0.1, reachable at the address that pods use.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

CHUNK = 1 << 16
BACKLOG = 1024
TARGET = "127.0.0.1"


async def forward(address: str, port: int, target_port: int) -> None:
    """Forward connections to `address` and `port` to `target_port` of the loopback interface."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            target_reader, target_writer = await asyncio.open_connection(TARGET, target_port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_pass_on(reader, target_writer), _pass_on(target_reader, writer))
        for side in (writer, target_writer):
            side.close()

    server = await asyncio.start_server(connected, address, port, backlog=BACKLOG)
    await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side closes, then close the other direction."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()


if __name__ == "__main__":
    asyncio.run(forward(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

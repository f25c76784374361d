"""A pipe that a process writes to and the event loop reads from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

PIECE_BYTES: Final = 65_536


class Pipe:
    """Reads in pieces, as they come, so that a writer waits for its reader and memory stays bounded."""

    def __init__(self, on_piece: Callable[[bytes], None]) -> None:
        """Raises OSError when there are too many open files."""
        self._loop = asyncio.get_running_loop()
        self._on_piece = on_piece
        self._reading: int | None
        self._reading, self._writing = os.pipe()
        self._writable = True
        self._ended = asyncio.Event()
        os.set_blocking(self._reading, False)
        self._loop.add_reader(self._reading, self._read)

    @property
    def writing(self) -> int:
        """The end to hand to a process."""
        return self._writing

    def handed_over(self) -> None:
        """The writing end is with others now: it is closed here."""
        if self._writable:
            self._writable = False
            os.close(self._writing)

    async def ended(self) -> None:
        """Returns when nobody holds the writing end any more, and all is read."""
        await self._ended.wait()

    def close(self) -> None:
        """Read what has been written so far, and no more."""
        while self._reading is not None and self._read():
            pass
        self._end()

    def _read(self) -> bool:
        if self._reading is None:
            return False
        try:
            piece = os.read(self._reading, PIECE_BYTES)
        except BlockingIOError:
            return False
        if piece:
            self._on_piece(piece)
        else:
            self._end()
        return bool(piece)

    def _end(self) -> None:
        self.handed_over()
        if self._reading is not None:
            self._loop.remove_reader(self._reading)
            os.close(self._reading)
            self._reading = None
            self._ended.set()

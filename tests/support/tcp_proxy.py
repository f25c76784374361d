"""A TCP proxy in front of a local server that a test closes, reopens and freezes."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import yaml

from devcluster.ports import free_port

_POLL: Final = 0.05
_CHUNK: Final = 65536
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: the connection ends by a reset."""


class TcpProxy:
    """Forwards TCP connections from `port` to the local port `behind` while it is open.

    Closed, it resets all connections and refuses new ones. Frozen, it accepts connections and forwards no data.
    Connections that it drops stay open and carry nothing any more.
    """

    def __init__(self, behind: int, *, is_open: bool = True) -> None:
        self._behind = behind
        self.port = free_port()
        self._closed = threading.Event()
        self._flows = threading.Event()
        self._flows.set()
        self._dropped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._closed.set()
        if is_open:
            self.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether connections are forwarded."""
        return not self._closed.is_set()

    def open(self) -> None:
        """Forward connections."""
        listener = socket.create_server(("127.0.0.1", self.port))
        listener.settimeout(_POLL)
        self._closed.clear()
        self._spawn(self._accept, listener)

    def redirect(self, port: int) -> None:
        """Forward new connections to another port; existing connections keep theirs."""
        self._behind = port

    def freeze(self) -> None:
        """Hold all data back."""
        self._flows.clear()

    def thaw(self) -> None:
        """Forward data again, beginning with the data held back."""
        self._flows.set()

    def drop(self) -> None:
        """Forward nothing on the present connections ever again, as a firewall does that has forgotten them."""
        self._dropped.set()
        self._dropped = threading.Event()

    def close(self) -> None:
        """Reset all connections and refuse new ones; returns once all are reset."""
        self._closed.set()
        while self._threads:
            self._threads.pop(0).join()

    def _spawn(self, target: Callable[[socket.socket], None], end: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(end,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while not self._closed.is_set():
                with contextlib.suppress(TimeoutError):
                    front, _ = listener.accept()
                    self._spawn(self._pass_on, front)

    def _pass_on(self, front: socket.socket) -> None:
        with front, socket.create_connection(("127.0.0.1", self._behind)) as back, contextlib.suppress(OSError):
            other, dropped = {front: back, back: front}, self._dropped
            while not self._closed.is_set():
                if not self._flows.wait(_POLL) or (dropped.is_set() and not self._closed.wait(_POLL)):
                    continue
                for ready in select.select([front, back], [], [], _POLL)[0]:
                    chunk = ready.recv(_CHUNK)
                    if not chunk:
                        return
                    other[ready].sendall(chunk)
            for cut in (front, back):
                cut.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def through(url: str, proxy: TcpProxy) -> str:
    """The same URL through the proxy."""
    parts = urlsplit(url)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return parts._replace(netloc=f"{login}127.0.0.1:{proxy.port}").geturl()


@contextlib.contextmanager
def proxied_api_server(kubeconfig: Path, folder: Path, *, is_open: bool = True) -> Iterator[tuple[TcpProxy, Path]]:
    """A proxy in front of the API server, and a kubeconfig in `folder` that uses it."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    with TcpProxy(urlsplit(cluster["server"]).port or 443, is_open=is_open) as proxy:
        cluster["server"] = through(cluster["server"], proxy)
        path = folder / "proxied-kubeconfig"
        path.write_text(yaml.safe_dump(config))
        yield proxy, path

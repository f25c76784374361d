"""etcd: what the API server keeps its objects in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from devcluster.http import is_ok
from devcluster.processes import Program

READY_LIMIT: Final = 60.0


class Etcd:
    """One etcd without peers. Its data stay when it is killed and started again on the same ports."""

    def __init__(self, binary: Path, directory: Path, *, port: int, peer_port: int, fsync: bool) -> None:
        self.program = Program(directory, "etcd")
        self.url = f"http://127.0.0.1:{port}"
        self._binary = binary
        self._data = directory / "etcd"
        self._port = port
        self._peer_url = f"http://127.0.0.1:{peer_port}"
        self._fsync = fsync

    def spawn(self) -> None:
        """Start it; `await_ready` follows."""
        self.program.spawn(
            [
                str(self._binary),
                "--name=devcluster",
                f"--data-dir={self._data}",
                f"--listen-client-urls={self.url}",
                f"--advertise-client-urls={self.url}",
                f"--listen-peer-urls={self._peer_url}",
                f"--initial-advertise-peer-urls={self._peer_url}",
                f"--initial-cluster=devcluster={self._peer_url}",
                "--log-level=warn",
                *([] if self._fsync else ["--unsafe-no-fsync"]),
            ]
        )

    def await_ready(self) -> None:
        """Return when it serves clients."""
        self.program.await_ready(lambda: is_ok(f"{self.url}/readyz"), port=self._port, limit=READY_LIMIT)

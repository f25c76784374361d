"""The address under which pods find the API server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from devcluster.node import forwarder
from devcluster.processes import Program

READY_LIMIT: Final = 30.0
HTTPS: Final = 443


class ServiceAddress:
    """Passes connections to the Service `kubernetes` on to the API server on 127.0.0.1."""

    def __init__(self, directory: Path, *, address: str, apiserver_port: int) -> None:
        self.program = Program(directory, "service-address")
        self._command = [
            sys.executable,
            "-I",
            str(Path(forwarder.__file__)),
            address,
            str(HTTPS),
            str(apiserver_port),
        ]

    def spawn(self) -> None:
        """Start it; `await_ready` follows."""
        self.program.spawn(self._command)

    def await_ready(self) -> None:
        """Return when it listens."""
        self.program.await_ready(lambda: True, port=HTTPS, limit=READY_LIMIT)

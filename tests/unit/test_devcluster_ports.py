"""Ports that the local cluster and the tests find for their processes."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from devcluster import ports

FIRST = 19_000
"""Below those from which ports are chosen."""
TAKE_ONE = f"from devcluster import ports; ports.CHOICE = range({FIRST}, {FIRST + 3}); print(ports.free_port())"


def test_a_port_is_found_once_while_its_finder_runs_and_never_if_somebody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "CHOICE", range(FIRST, FIRST + 3))
    with socket.create_server(("127.0.0.2", FIRST)):
        own = ports.free_port()
        done = subprocess.run([sys.executable, "-c", TAKE_ONE], capture_output=True, text=True, check=True)
        others = int(done.stdout)
        assert {own, others} == {FIRST + 1, FIRST + 2}
        assert ports.free_port() == others
        with pytest.raises(OSError, match="no port from 19000 to 19002 is free"):
            ports.free_port()

"""The attacker controls the network between the operator and PostgreSQL and answers in the server's place.

The attacker may read, change and answer all packets, but has no certificate that the CA of the database has signed.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from projectsetup.projects import DatabaseUnavailable, ProjectRecord
from projectsetup.projects.address import DatabaseAddress, Protection
from tests.support.manifests import ROOT

PASSWORD: Final = "geheim"
DEPLOYMENT: Final = (ROOT / "docs" / "deployment.md").read_text()
DOCUMENTED: Final = re.findall(r"DATABASE_URL=\'?(postgresql://[^\'\s]+)", DEPLOYMENT)
CA_FILE: Final = "/etc/projectsetup/database-ca/ca.pem"
_REFUSE_TLS: Final = b"N"
_SEND_THE_PASSWORD: Final = b"R" + struct.pack("!ii", 8, 3)
_PASSWORD: Final = b"p"


class Impostor:
    """Says that it cannot do TLS and asks for the password in plain text."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.stolen: list[bytes] = []

    def serve(self) -> None:
        while True:
            try:
                victim, _ = self._listener.accept()
            except OSError:
                return
            with victim:
                self._deceive(victim)

    def _deceive(self, victim: socket.socket) -> None:
        victim.settimeout(5)
        victim.recv(8)  # SSLRequest
        victim.sendall(_REFUSE_TLS)
        if not victim.recv(1024):  # the startup packet, unless the victim insists on TLS
            return
        victim.sendall(_SEND_THE_PASSWORD)
        received = victim.recv(1024)
        if received.startswith(_PASSWORD):
            self.stolen.append(received[5:].rstrip(b"\0"))


@contextmanager
def impostor() -> Iterator[Impostor]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attacker = Impostor(listener)
        thread = threading.Thread(target=attacker.serve, daemon=True)
        thread.start()
        yield attacker
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


async def ask(url: str) -> None:
    async with ProjectRecord.connect(url, call_limit=5) as record:
        with pytest.raises(DatabaseUnavailable):
            await record.ping()


async def test_the_documented_url_reveals_nothing(tmp_path: Path) -> None:
    assert DOCUMENTED
    ca = tmp_path / "ca.pem"
    ca.write_text("# trusts nobody\n")
    for documented in DOCUMENTED:
        with impostor() as attacker:
            url = documented.replace("user:password@host:5432", f"app:{PASSWORD}@127.0.0.1:{attacker.port}")
            await ask(url.replace(CA_FILE, str(ca)))
        assert attacker.stolen == []


async def test_an_unprotected_url_reveals_the_password() -> None:
    with impostor() as attacker:
        await ask(f"postgresql://app:{PASSWORD}@127.0.0.1:{attacker.port}/app")
    assert attacker.stolen == [PASSWORD.encode()]
    address = DatabaseAddress.parse(f"postgresql://app:{PASSWORD}@db.example/app")
    assert address.protection is Protection.NONE
    assert address.warning is not None
    assert PASSWORD not in address.warning


def test_the_manifests_mount_the_ca_as_documented() -> None:
    deployment = (ROOT / "manifests" / "base" / "deployment.yaml").read_text()
    assert deployment.count(f"mountPath: {CA_FILE.rpartition('/')[0]}") == deployment.count("name: DATABASE_URL")

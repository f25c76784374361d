"""A git host that belongs to the attacker: it lets everybody in, and keeps all that it is ever sent."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.git_host import GitHandler, GitHost, https_server


@dataclass(frozen=True, slots=True)
class AttackersHost:
    """`git` are its repositories; `received` are the requests, each with everything that came with it."""

    git: GitHost
    received: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where anything can be sent."""
        return f"https://{self.git.host}:{self.git.port}"

    def knows(self, secret: str) -> bool:
        """Whether it was sent the secret, in any of the forms in which git and our thieves send it."""
        return any(secret in form for request in self.received for form in _forms(request))


def _forms(request: str) -> Iterator[str]:
    yield request
    for word in re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", request):
        with suppress(binascii.Error):  # it only looked like base64
            yield base64.b64decode(word.rstrip("=") + "=" * (-len(word.rstrip("=")) % 4)).decode("utf-8", "replace")


@contextmanager
def attackers_host(folder: Path, *, host: str = "localhost") -> Iterator[AttackersHost]:
    """Serve until the end of the block."""
    received: list[str] = []

    class Handler(GitHandler):
        def _answer(self, body: bytes) -> None:
            received.append(f"{self.command} {self.path}\n{self.headers}\n{body.decode('latin-1')}")
            self.expected = self.headers.get("Authorization")
            if ".git/" in self.path:
                super()._answer(body)
            else:
                self.send_response(204)
                self.end_headers()

    Handler.folder = folder
    with https_server(folder, Handler, host=host) as port:
        yield AttackersHost(GitHost(folder, host, port), received)

"""TCP ports of 127.0.0.1: finding free ones, identifying who listens, and sending HTTP requests."""

from __future__ import annotations

import json
import random
import socket
import ssl
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

CHOICE: Final = range(20_000, 30_000)
"""Below the ephemeral ports of Linux, so that a restarted part finds its port free."""
_LISTEN: Final = "0A"
_claims: Final[list[socket.socket]] = []
"""Sockets whose abstract names claim ports until this process ends: a port may be used long after it was found."""


def free_port() -> int:
    """A port on which nobody listens at any address, and which no process gets again while this one runs.

    Raises OSError if there is none.
    """
    for port in random.sample(CHOICE, len(CHOICE)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0devcluster-port-{port}")
            with socket.socket() as probe:
                probe.bind(("", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise OSError(f"no port from {CHOICE.start} to {CHOICE.stop - 1} is free")


def listens(pid: int, port: int) -> bool:
    """Whether this process, and no other one, listens on the port."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    try:
        return any(_target(descriptor) in sockets for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _listening_inodes(port: int) -> list[str]:
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return [row[9] for row in rows if row[3] == _LISTEN and row[1].endswith(f":{port:04X}")]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def is_ok(url: str, *, token: str | None = None, context: ssl.SSLContext | None = None) -> bool:
    """Whether `url` answers 200 within five seconds, bypassing proxies."""
    return _get(url, token, context) is not None


def get_json(url: str, *, token: str, context: ssl.SSLContext) -> Any:
    """The JSON that `url` answers within five seconds; None for any other answer."""
    try:
        return json.loads(_get(url, token, context) or b"null")
    except ValueError:
        return None


def _get(url: str, token: str | None, context: ssl.SSLContext | None) -> bytes | None:
    request = urllib.request.Request(url)  # noqa: S310  # only addresses of this machine
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=5) as answer:
            body: bytes = answer.read()
            return body if answer.status == HTTPStatus.OK else None
    except OSError:
        return None

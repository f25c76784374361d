"""A git host with bare repositories behind HTTPS and a password."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GitHost:
    """`certificate` is the file that clients must trust."""

    folder: Path
    host: str
    port: int

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    def repository(self, name: str) -> str:
        """The URL of a new bare repository."""
        subprocess.run(["git", "init", "--quiet", "--bare", str(self.folder / name)], check=True)
        return f"https://{self.host}:{self.port}/{name}"

    def commit_of(self, name: str) -> str:
        """The commit at the tip of its branch main."""
        command = ["git", "-C", str(self.folder / name), "rev-parse", "main"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def git_host(folder: Path, *, username: str, password: str, host: str = "localhost") -> Iterator[GitHost]:
    """Serve until the end of the block, as `host`: a name or an address of this machine. Needs openssl and git."""
    expected = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    handler = type("Handler", (GitHandler,), {"folder": folder, "expected": expected})
    with https_server(folder, handler, host=host) as port:
        yield GitHost(folder, host, port)


@contextmanager
def https_server(folder: Path, handler: type[BaseHTTPRequestHandler], *, host: str = "localhost") -> Iterator[int]:
    """Serve until the end of the block; the port. `folder` gets certificate.pem, for clients, and its key."""
    self_signed(folder, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    with ThreadingHTTPServer((host, 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def self_signed(folder: Path, host: str) -> None:
    """Makes certificate.pem of `host`, a name or an address, and key.pem in the folder. Needs openssl."""
    kind = "IP" if host.replace(".", "").isdigit() else "DNS"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName={kind}:{host}"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )


class GitHandler(BaseHTTPRequestHandler):
    """Hands requests to `git http-backend`."""

    folder: Path
    expected: str | None

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes) -> None:
        if self.headers.get("Authorization") != self.expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        variables = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "somebody",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=variables, input=body, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

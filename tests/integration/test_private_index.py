"""A package index with a login: steps without git credentials can use it with uv, and it is never shown."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Final

import pytest

from projectsetup.setup.environment import inherited_environment, portable_environment, secrets_in, trusted_environment

USERNAME, PASSWORD = "reader", "a-token-for-the-index"
WHEEL: Final = "inhouse-1.0-py3-none-any.whl"
EXPECTED: Final = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()


def wheel() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("inhouse.py", "x = 1\n")
        archive.writestr("inhouse-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: inhouse\nVersion: 1.0\n")
        archive.writestr(
            "inhouse-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("inhouse-1.0.dist-info/RECORD", "")
    return made.getvalue()


class Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = wheel() if self.path.endswith(WHEEL) else f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
        allowed = self.headers.get("Authorization") == EXPECTED
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Type", "text/html" if not self.path.endswith(WHEEL) else "application/octet-stream")
        if not allowed:
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Length", str(len(content) if allowed else 0))
        self.end_headers()
        if self.command == "GET" and allowed:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an operator that has a login for the index."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "PATH": os.environ["PATH"],
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            "UV_DEFAULT_INDEX": f"internal=http://127.0.0.1:{server.server_port}/simple",
            "UV_INDEX_INTERNAL_USERNAME": USERNAME,
            "UV_INDEX_INTERNAL_PASSWORD": PASSWORD,
        }
        server.shutdown()


def install(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--python", sys.executable, "--target", str(folder / "target"), "inhouse"]
    return subprocess.run(
        command, env={**environment, "HOME": str(folder)}, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_step_installs_from_it(operator: dict[str, str], tmp_path: Path) -> None:
    done = install(tmp_path, inherited_environment(operator))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "inhouse.py").is_file()


def test_a_step_with_credentials_and_a_pod_do_not_get_the_login(operator: dict[str, str], tmp_path: Path) -> None:
    operator |= {"PIP_INDEX_URL": f"https://{USERNAME}:{PASSWORD}@packages.example/simple"}
    trusted = trusted_environment(inherited_environment(operator), PurePosixPath("/workspace"))
    for environment in (trusted, portable_environment(operator)):
        assert PASSWORD not in str(environment)
        assert environment["UV_DEFAULT_INDEX"] == operator["UV_DEFAULT_INDEX"]
        done = install(tmp_path, environment | {"PATH": os.environ["PATH"]})
        assert done.returncode != 0
        assert "401" in done.stderr


def test_the_login_is_hidden_in_output(operator: dict[str, str]) -> None:
    operator |= {"CARGO_REGISTRIES_INHOUSE_TOKEN": "cargo-token", "POETRY_HTTP_BASIC_INHOUSE_PASSWORD": "poetry-word"}
    assert {PASSWORD, "cargo-token", "poetry-word"} <= set(secrets_in(inherited_environment(operator)))
    assert USERNAME not in set(secrets_in(operator))

"""The command as a process: exit codes, signals, pipes, and what it imports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from projectsetup.projects.address import EXAMPLE
from tests.support.command_line import SECONDS, command, environment, one_error, process, write_kubeconfig
from tests.support.setup_bodies import NAME

HEAVY: Final = ("kubernetes", "kopf", "sqlalchemy", "psycopg", "alembic", "aiohttp", "structlog")
HEAVY_FOR_CLUSTER: Final = ("kubernetes.aio.client.api.core_v1_api", "kopf", "sqlalchemy", "structlog")
SCRIPT: Final = """
import sys
from projectsetup.cli import main
try:
    main()
except SystemExit as end:
    code = end.code
print(code, *sorted(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


def in_script(*arguments: str, heavy: tuple[str, ...] = (), more: str = "", **changes: str | None) -> list[str]:
    """The last line on standard error: the exit code, and the modules of `heavy` that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(heavy=heavy) + more, *arguments],
        capture_output=True, text=True, timeout=SECONDS, check=False, env=environment(changes),
    )  # fmt: skip
    return done.stderr.splitlines()


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """Accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        yield server


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["setup", "--help"], 0), (["crd"], 0), (["recipes", "list"], 0), (["setup"], 2)],
)
def test_commands_that_reach_nothing_import_nothing_heavy(arguments: list[str], code: int) -> None:
    assert in_script(*arguments, heavy=HEAVY)[-1] == str(code)


@pytest.mark.parametrize("arguments", [["status"], ["queue", "show"], ["cancel", NAME]])
def test_commands_for_the_cluster_import_the_small_part_of_its_client(arguments: list[str]) -> None:
    assert in_script(*arguments, heavy=HEAVY_FOR_CLUSTER, KUBECONFIG="/nonexistent")[-1] == "2"


@pytest.mark.parametrize(("url", "dumpable"), [(None, "1"), (EXAMPLE, "0")])
def test_a_command_that_holds_the_database_url_cannot_be_inspected(url: str | None, dumpable: str) -> None:
    ask = "import ctypes; print(ctypes.CDLL(None).prctl(3), file=sys.stderr)"
    assert in_script("--version", more=ask, DATABASE_URL=url) == ["0", dumpable]


@pytest.mark.parametrize(("arguments", "code"), [(["crd"], 141), (["recipes", "list"], 141), (["--help"], 1)])
def test_a_closed_pipe_is_no_error(arguments: list[str], code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        done = subprocess.run(
            command(*arguments), stdout=out, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False
        )
    assert (done.returncode, done.stderr) == (code, "")


def test_an_unusual_encoding_of_the_terminal_is_no_error() -> None:
    done = process("recipes", "lint", "/nix/漢字", PYTHONIOENCODING="ascii")
    assert done.code == 2
    assert one_error(done.err) == r"/nix/\u6f22\u5b57: cannot be read: No such file or directory"


def test_an_interrupt_ends_it_silently(silent_server: socket.socket, tmp_path: Path) -> None:
    cluster = write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{silent_server.getsockname()[1]}")
    with subprocess.Popen(
        command("status"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment({"KUBECONFIG": cluster})
    ) as running:
        connection, _ = silent_server.accept()
        with connection:
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=SECONDS)
    assert (running.returncode, out, err) == (130, b"", b"")


def test_migrate_warns_of_an_unprotected_connection() -> None:
    done = process("migrate", DATABASE_URL="postgresql://user:geheim@db.invalid/app")
    warning, error = done.err.splitlines()
    assert (done.code, done.out) == (3, "")
    assert warning.startswith("warning: the connection to PostgreSQL at db.invalid:5432/app is not protected")
    assert error == "error: PostgreSQL at db.invalid:5432/app cannot be found: no such host name"
    assert "geheim" not in done.err

"""An operator with invalid settings exits with one line; without its cluster or database it waits."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from devcluster.ports import free_port
from tests.support.api_server import UNSEEN
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, message, reason
from tests.support.setup_handle import Setup
from tests.support.tcp_proxy import proxied_api_server

PASSWORD = "hunter22-hunter22"
DATABASE = f"postgresql://user:{PASSWORD}@127.0.0.1:1/nowhere"
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: nowhere, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: nobody, user: {token: nothing}}]
contexts: [{name: here, context: {cluster: nowhere, user: nobody}}]
current-context: here
"""


def operator(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run an operator until it exits."""
    (folder / "kubeconfig").write_text(KUBECONFIG)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "DATABASE_URL": DATABASE,
        "PROJECTSETUP_HTTP_PORT": str(free_port()),
        "PROJECTSETUP_WORKSPACE_ROOT": str(folder),
    }
    command = [sys.executable, "-m", "projectsetup", "operator"]
    return subprocess.run(
        command, env=environment | variables, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"DATABASE_URL": f"mysql://user:{PASSWORD}@host/d"}, "the database URL is invalid (expected postgresql://"),
        ({"KUBECONFIG": "no.yaml"}, "kubeconfig no.yaml cannot be used: while parsing a flow node"),
        (
            {"PROJECTSETUP_WORKSPACE_ROOT": "/proc"},
            "PROJECTSETUP_WORKSPACE_ROOT=/proc: cannot create a directory there",
        ),
    ],
)
def test_an_invalid_setting_ends_the_start(tmp_path: Path, variables: dict[str, str], line: str) -> None:
    (tmp_path / "no.yaml").write_text("clusters: [")
    done = operator(tmp_path, **variables)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {line}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert PASSWORD not in done.stderr
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(("projectsetup-", ".projectsetup-"))]


def test_a_port_in_use_ends_the_start_after_the_warning_about_an_unencrypted_connection(tmp_path: Path) -> None:
    url = f"postgresql://user:{PASSWORD}@db.example:5432/app"
    with closing(socket.create_server(("", 0))) as taken:
        done = operator(tmp_path, DATABASE_URL=url, PROJECTSETUP_HTTP_PORT=str(taken.getsockname()[1]))
    assert done.stderr.count("the connection to PostgreSQL at db.example:5432/app is not protected") == 1
    assert PASSWORD not in done.stderr
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "address already in use" in last
    assert "Traceback" not in done.stderr


@pytest.fixture
def role(admin_database_url: str) -> Iterator[str]:
    """A database user whose password is not PASSWORD."""
    name = f"role_{secrets.token_hex(4)}"
    with psycopg.connect(admin_database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD 'another'").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def change_password(database_url: str, role: str, password: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))


def test_the_operator_waits_for_a_database_that_refuses_the_login(
    new_sandbox: NewSandbox, role: str, database_url: str
) -> None:
    server = urlsplit(database_url)
    url = server._replace(netloc=f"{role}:{PASSWORD}@127.0.0.1:{server.port}").geturl()
    with new_sandbox(environment={"DATABASE_URL": url}, allow_file_repos="false") as sandbox:
        sandbox.database_url = database_url
        sandbox.operator.start(ready=False)
        remote = Setup.make(sandbox, project=sandbox.project(code_repo="https://git.example.test/code.git"))
        local = Setup.make(sandbox, project=sandbox.project(code_repo="/nowhere/code.git"))
        for waiting in (remote, local):
            status = waiting.reached("Queued")
            assert (reason(status), status["attempt"]) == ("DatabaseUnavailable", 0)
            assert message(status).endswith(f"refused the login of user {role}")
        code, text = sandbox.operator.get("/readyz")
        assert (code, f"refused the login of user {role}" in text) == (503, True)
        assert sandbox.operator.get("/healthz")[0] == 200
        change_password(database_url, role, PASSWORD)
        assert remote.ended()[0] == "SetupSucceeded"
        why, status = local.ended()
        assert (why, "must not be a local path" in message(status)) == ("InvalidSpec", True)
        texts = sandbox.published_texts()
        assert sandbox.operator.terminate() == 0
    assert "Traceback" not in texts["log"]
    assert not [place for place, text in texts.items() if PASSWORD in text]


def test_the_operator_waits_for_an_unreachable_cluster(
    new_sandbox: NewSandbox, kubeconfig: Path, tmp_path: Path
) -> None:
    with (
        proxied_api_server(kubeconfig, tmp_path, is_open=False) as (proxy, moved),
        new_sandbox(environment={"KUBECONFIG": str(moved)}, leader_election="true") as sandbox,
    ):
        setup = Setup.make(sandbox)
        sandbox.operator.start(ready=False)
        wait_for(lambda: sandbox.operator.get("/readyz")[0] == 503, "the operator to report that it is not ready")
        wait_for(lambda: "cannot reach the Lease" in sandbox.operator.log_tail(), "the operator to log why")
        assert setup.status == UNSEEN
        assert sandbox.operator.terminate() == 0
        assert "Traceback" not in sandbox.operator.log.read_text()
        sandbox.operator.start(ready=False)
        proxy.open()
        assert setup.ended()[0] == "SetupSucceeded"
        sandbox.operator.close()

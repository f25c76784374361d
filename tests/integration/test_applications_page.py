"""The examples of docs/applications.md, run as they are by an application that has the rights that the page grants.

The recipe that they name is replaced by one that checks what it was given.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest

from devcluster.postgres import binaries
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.pages import code_blocks
from tests.support.setup_handle import Setup

PAGE: Final = "docs/applications.md"
(GRANTS,) = code_blocks(PAGE, "sql", containing="GRANT projectsetup_client")
(REQUEST,) = code_blocks(PAGE, "sql", containing="BEGIN")
(RESULT,) = code_blocks(PAGE, "sql", containing="LEFT JOIN setup_requests")
(LISTEN,) = code_blocks(PAGE, "sql", containing="LISTEN")
SYNC, ASYNC, REFUSED = code_blocks(PAGE, "python")
(ELIXIR,) = code_blocks(PAGE, "elixir")

RECIPE: Final = """
name: python-service
description: Ends well when it was given a licence and a login, or neither
image: none:1
parameters:
  license: {default: none, pattern: "^[a-zA-Z]+$", description: SPDX id}
steps:
- name: look
  status: compiling
  credentials: true
  run: |
    [ "$PARAM_LICENSE" = none ] && exit
    [ "$PARAM_LICENSE" = MIT ]
    printf 'url=%s\\n\\n' "$CODE_REPO" | git credential fill | grep -qx password=any
"""


class Application:
    """A program with its own database role."""

    def __init__(self, sandbox: Sandbox) -> None:
        parts = urlsplit(sandbox.database_url)
        self.url = parts._replace(netloc=f"my_application:secret@{parts.netloc.rpartition('@')[2]}").geturl()

    def psql(self, script: str) -> str:
        """The rows that psql prints."""
        command = [str(binaries() / "psql"), self.url, "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-qAt"]
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def python(self, program: str) -> str:
        """What the program prints."""
        url = self.url.replace("postgresql:", "postgresql+psycopg:")
        command, environment = [sys.executable, "-c", program], {**os.environ, "DATABASE_URL": url}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def project(self, name: str) -> str:
        """The id of the project with this name."""
        return self.psql(f"SELECT id FROM projects WHERE name = '{name}'")  # noqa: S608  # a name of this test


@pytest.fixture(scope="module")
def sandbox(new_sandbox: NewSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    recipes = tmp_path_factory.mktemp("recipes")
    (recipes / "python-service.yaml").write_text(RECIPE)
    with new_sandbox(recipes_dir=str(recipes), require_namespace="true") as sandbox:
        sandbox.operator.configure(intake_namespace=sandbox.api.namespace)
        sandbox.api.kubectl("create", "secret", "generic", "git-credentials", "--from-literal=token=any")
        sandbox.operator.start()
        yield sandbox


@pytest.fixture(scope="module")
def application(sandbox: Sandbox) -> Iterator[Application]:
    with psycopg.connect(sandbox.database_url, autocommit=True) as administrator:
        administrator.execute("CREATE ROLE my_application LOGIN PASSWORD 'secret'")
        administrator.execute(GRANTS.encode())
        yield Application(sandbox)
        administrator.execute("DROP OWNED BY my_application; DROP ROLE my_application")


def test_psql(sandbox: Sandbox, application: Application) -> None:
    with psycopg.connect(application.url, autocommit=True) as listener:
        listener.execute(LISTEN.encode())
        request = application.psql(REQUEST)
        project = application.project("Order Service")
        statuses = []
        for notice in listener.notifies(timeout=30):
            statuses.append(re.findall(r'"name" : "Order Service", "status" : "(\w+)"', notice.payload))
            if statuses[-1] == ["ready"]:
                break
    assert statuses == [["setup_queued"], ["compiling"], ["ready"]]
    assert Setup(sandbox, sandbox.api, project).ended()[0] == "SetupSucceeded"
    spec = sandbox.api.get(project)["spec"]
    assert (spec["recipe"], spec["parameters"]) == ("python-service", {"license": "MIT"})
    assert spec["credentialsSecretRef"] == {"name": "git-credentials"}
    is_handled(application)
    name, status, setup_error, kind, _, handled_at, error = application.psql(RESULT).split("|")
    assert (name, status, setup_error, kind, error) == ("Order Service", "ready", "", "setup", "")
    assert handled_at
    assert application.psql(f"SELECT id FROM setup_requests WHERE id = '{request}'") == request  # noqa: S608


def is_handled(application: Application) -> None:
    """Return once all requests are marked as handled, which follows the creation of the ProjectSetup."""
    pending = "SELECT count(*) FROM setup_requests WHERE handled_at IS NULL"
    wait_for(lambda: application.psql(pending) == "0", "all requests to be handled")


def test_sqlalchemy(sandbox: Sandbox, application: Application) -> None:
    assert application.python(SYNC) == ""
    project = application.project("Invoices")
    wait_for(lambda: project in sandbox.api.select("status.phase!=nothing"), f"ProjectSetup {project}")
    assert Setup(sandbox, sandbox.api, project).ended()[0] == "SetupSucceeded"
    assert sandbox.record(project)["namespace"] == sandbox.api.namespace


def test_sqlalchemy_without_a_commit(sandbox: Sandbox, application: Application) -> None:
    """The request and the application's own row share their fate."""
    failing = SYNC.replace("Invoices", "Never").replace("invoices.git", "never.git") + "    raise SystemExit(0)\n"
    application.python(failing)
    assert application.project("Never") == ""
    is_handled(application)
    assert "Never" not in sandbox.api.kubectl("get", "projectsetups", "-o", "wide")


def test_sqlalchemy_async(sandbox: Sandbox, application: Application) -> None:
    answer = application.python(ASYNC)
    record = sandbox.record(application.project("Search"))
    if answer == "ok":
        wanted = f"SELECT count(*) FROM setup_requests WHERE project_id = '{record['id']}' AND handled_at IS NULL"  # noqa: S608
        wait_for(lambda: application.psql(wanted) == "0", "the cancel to be handled")
    else:
        assert (answer, record["status"]) == ("already_completed", "ready")


def test_refused(application: Application) -> None:
    assert application.python(REFUSED) == "priority must be 0 to 9, not 10"


def test_the_statement_of_ecto(sandbox: Sandbox, application: Application) -> None:
    (statement,) = re.findall(r'repo\.query\("(.*?)"', ELIXIR)
    project = application.psql(
        "INSERT INTO projects (name, code_repo) VALUES ('Ecto', 'https://git.example.com/team/ecto.git') RETURNING id"
    )
    application.psql(f"PREPARE of_ecto (uuid, int) AS {statement}; EXECUTE of_ecto ('{project}', 0)")
    wait_for(lambda: project in sandbox.api.select("status.phase!=nothing"), f"ProjectSetup {project}")
    assert Setup(sandbox, sandbox.api, project).ended()[0] == "SetupSucceeded"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE projects SET status = 'ready'",
        "INSERT INTO projects (name, code_repo, namespace) VALUES ('a', 'https://git.example.com/a', 'team-b')",
        "INSERT INTO projects (name, code_repo, status) VALUES ('a', 'https://git.example.com/a', 'ready')",
        "DELETE FROM projects",
        "UPDATE setup_requests SET handled_at = now()",
        "INSERT INTO setup_requests (project_id, kind) SELECT id, 'setup' FROM projects",
        "SELECT * FROM project_repositories",
    ],
)
def test_the_application_may_do_no_more(application: Application, statement: str) -> None:
    with (
        psycopg.connect(application.url, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())

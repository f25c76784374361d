"""The roles of docs/deployment.md: the operator has exactly the rights that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest

from projectsetup.projects.migrate import migrate
from tests.support.command_line import CommandLine
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.pages import code_blocks
from tests.support.setup_handle import Setup

(ROLES,) = code_blocks("docs/deployment.md", "sql", containing="CREATE ROLE")
(CLIENT_ROLE,) = code_blocks("docs/applications.md", "sql", containing="CREATE ROLE")
(CLIENT_GRANTS,) = code_blocks("docs/applications.md", "sql", containing="GRANT projectsetup_client")
LOGINS: Final = dict(re.findall(r"CREATE ROLE (\w+) LOGIN PASSWORD '([^']+)'", ROLES))
OWNER, OPERATOR = LOGINS
FORBIDDEN: Final = (
    "DROP TABLE projects",
    "TRUNCATE projects",
    "ALTER TABLE projects ADD COLUMN mine text",
    "ALTER TABLE projects DISABLE TRIGGER ALL",
    "DROP FUNCTION projects_before_update CASCADE",
    "CREATE TABLE mine ()",
    "CREATE TRIGGER mine BEFORE UPDATE ON projects EXECUTE FUNCTION projects_before_update()",
)


def login(url: str, role: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:{LOGINS[role]}@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.fixture
def sandbox(new_sandbox: NewSandbox) -> Iterator[Sandbox]:
    """Its database holds only what the documentation creates."""
    with new_sandbox() as sandbox, psycopg.connect(sandbox.database_url, autocommit=True) as administrator:
        administrator.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        administrator.execute(ROLES)
        yield sandbox
        sandbox.operator.close()
        for role in LOGINS:
            administrator.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_operator_works_with_the_least_rights(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = CommandLine(capsys)
    assert migrate(login(sandbox.database_url, OWNER))
    mine = login(sandbox.database_url, OPERATOR)
    sandbox.operator.configure({"DATABASE_URL": mine})
    sandbox.operator.start()
    monkeypatch.setenv("DATABASE_URL", mine)
    project = cli.ok("projects", "create", "--name", "App", "--code-repo", "https://git.example/app").out.strip()
    assert Setup.make(sandbox, project=project).ended()[0] == "SetupSucceeded"
    assert sandbox.record(project)["status"] == "ready"
    assert 'projectsetup_database_connection{protection="local"} 1.0' in sandbox.operator.get("/metrics")[1]
    cli.ok("projects", "delete", project)
    with psycopg.connect(mine, autocommit=True) as connection:
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_requests_need_no_more_rights(sandbox: Sandbox) -> None:
    """The owner may not create roles, so an administrator creates the one for applications, as the page says."""
    assert migrate(login(sandbox.database_url, OWNER))
    sandbox.operator.configure(
        {"DATABASE_URL": login(sandbox.database_url, OPERATOR)}, intake_namespace=sandbox.api.namespace
    )
    sandbox.operator.start()
    create_role, grant = CLIENT_ROLE.strip().splitlines()
    with psycopg.connect(sandbox.database_url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.DuplicateObject):  # by another database of this server
            connection.execute(create_role.encode())
        connection.execute("REVOKE ALL ON FUNCTION setup_project, cancel_setup FROM projectsetup_client")
        connection.execute(f"{grant} CREATE ROLE my_application; {CLIENT_GRANTS}".encode())
        connection.execute("SET ROLE my_application")
        add = "INSERT INTO projects (name, code_repo) VALUES ('App', 'https://git.example/app') RETURNING id"
        (project,) = connection.execute(add).fetchone() or (None,)
        connection.execute("SELECT setup_project(%s, recipe => 'instant')", (project,))
        wait_for(lambda: str(project) in sandbox.api.select("status.phase!=nothing"), f"ProjectSetup {project}")
        assert Setup(sandbox, sandbox.api, str(project)).ended()[0] == "SetupSucceeded"
        handled = "SELECT error FROM setup_requests WHERE handled_at IS NOT NULL"
        wait_for(lambda: connection.execute(handled).fetchall() == [(None,)], "the request to be handled")
        connection.execute("RESET ROLE; DROP OWNED BY my_application; DROP ROLE my_application")

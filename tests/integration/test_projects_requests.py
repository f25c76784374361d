"""The SQL functions for applications: what they write in the caller's transaction, and what they refuse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, InvalidParameterValue, NoDataFound, ObjectNotInPrerequisiteState
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier, Placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator

Sql = psycopg.Connection[dict[str, Any]]


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


def one(sql: Sql, query: str, *values: object) -> dict[str, Any]:
    (row,) = sql.execute(query.encode(), values).fetchall()
    return row


def project(sql: Sql, status: str = "created", **columns: object) -> UUID:
    made = uuid4()
    values = {"id": made, "name": str(made), "code_repo": f"https://git.example/{made}", "status": status, **columns}
    names = SQL(", ").join(map(Identifier, values))
    given = SQL(", ").join(map(Placeholder, values))
    sql.execute(SQL("INSERT INTO projects ({}) VALUES ({})").format(names, given), values)
    return made


def requests(sql: Sql) -> list[dict[str, Any]]:
    return sql.execute("SELECT * FROM setup_requests ORDER BY number").fetchall()


def test_a_request_queues_the_project_and_holds_what_was_asked_for(sql: Sql) -> None:
    made = project(sql, "failed", setup_error='{"reason": "StepFailed"}', fence=3)
    asked = (made, "go-service", '{"license": "MIT"}', 0, 5, "1m30s", "git")
    request = one(sql, "SELECT setup_project(%s, %s, %s, %s, %s, %s, %s) AS id", *asked)["id"]
    (row,) = requests(sql)
    assert row["id"] == request
    assert row["kind"] == "setup"
    assert tuple(row[name] for name in ("project_id", "recipe", "priority", "max_attempts", "backoff")) == (
        made,
        "go-service",
        0,
        5,
        "1m30s",
    )
    assert row["parameters"] == {"license": "MIT"}
    assert row["credentials_secret"] == "git"
    assert (row["handled_at"], row["error"]) == (None, None)
    after = one(sql, "SELECT * FROM projects")
    assert (after["status"], after["setup_error"], after["fence"]) == ("setup_queued", None, 4)


def test_a_request_that_is_rolled_back_leaves_nothing(sql: Sql) -> None:
    made = project(sql)
    with sql.transaction(force_rollback=True):
        sql.execute("SELECT setup_project(%s)", (made,))
    assert requests(sql) == []
    assert one(sql, "SELECT status, fence FROM projects") == {"status": "created", "fence": 0}


def test_a_request_leaves_a_running_setup_alone(sql: Sql) -> None:
    owner = {"owner_uid": "u", "owner_namespace": "n", "owner_name": "p"}
    made = project(sql, "testing", fence=7, **owner)
    sql.execute("SELECT setup_project(%s)", (made,))
    assert one(sql, "SELECT status, fence, owner_uid FROM projects") == {
        "status": "testing",
        "fence": 7,
        "owner_uid": "u",
    }
    assert len(requests(sql)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "Not A Label"}, "recipe must be at most 63 lower-case letters"),
        ({"recipe": "a" * 64}, "recipe must be at most 63"),
        ({"parameters": "[]"}, "parameters must be a JSON object"),
        ({"parameters": '{"a": 1}'}, "parameters must have strings as values"),
        ({"priority": 10}, "priority must be 0 to 9, not 10"),
        ({"priority": -1}, "priority must be 0 to 9, not -1"),
        ({"max_attempts": 0}, "max_attempts must be 1 to 20, not 0"),
        ({"backoff": "0s"}, "backoff must be a duration"),
        ({"backoff": "soon"}, "backoff must be a duration"),
        ({"credentials_secret": "_"}, "credentials_secret must be the name of a Secret"),
    ],
)
def test_arguments_out_of_range_are_refused(sql: Sql, arguments: dict[str, object], message: str) -> None:
    made = project(sql)
    given = "".join(f", {name} => %s" for name in arguments)
    with pytest.raises(InvalidParameterValue, match=message):
        sql.execute(f"SELECT setup_project(%s{given})".encode(), [made, *arguments.values()])
    assert requests(sql) == []


def test_a_project_that_is_missing_or_ready_is_refused(sql: Sql) -> None:
    with pytest.raises(NoDataFound, match="does not exist"):
        sql.execute("SELECT setup_project(%s)", (uuid4(),))
    with pytest.raises(ObjectNotInPrerequisiteState, match="is ready"):
        sql.execute("SELECT setup_project(%s)", (project(sql, "ready"),))
    with pytest.raises(InvalidParameterValue, match="project_id is null"):
        sql.execute("SELECT setup_project(NULL)")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("created", "not_found"),
        ("setup_queued", "ok"),
        ("testing", "ok"),
        ("ready", "already_completed"),
        ("failed", "already_completed"),
    ],
)
def test_a_cancel_says_what_it_finds(sql: Sql, status: str, answer: str) -> None:
    made = project(sql, status)
    assert one(sql, "SELECT cancel_setup(%s) AS answer", made)["answer"] == answer
    assert [row["kind"] for row in requests(sql)] == (["cancel"] if answer == "ok" else [])


def test_a_cancel_of_a_project_that_does_not_exist_finds_none(sql: Sql) -> None:
    assert one(sql, "SELECT cancel_setup(%s) AS answer", uuid4())["answer"] == "not_found"


@pytest.fixture
def application(database_url: str) -> Iterator[Sql]:
    """An application whose role may do what `projectsetup_client` may."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SET ROLE projectsetup_client")
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM projects",
        "UPDATE projects SET status = 'ready'",
        "UPDATE projects SET fence = fence + 1",
        "UPDATE projects SET owner_uid = NULL, owner_namespace = NULL, owner_name = NULL",
        "INSERT INTO projects (name, code_repo) VALUES ('a', 'https://git.example/a')",
        "DELETE FROM projects",
        "INSERT INTO setup_requests (project_id, kind) SELECT gen_random_uuid(), 'setup'",
        "UPDATE setup_requests SET handled_at = now()",
        "SELECT * FROM setup_requests",
        "COPY setup_requests TO STDOUT",
        "DELETE FROM setup_requests",
        "SELECT nextval('setup_requests_number_seq')",
        "TRUNCATE projects",
        "ALTER TABLE projects DISABLE TRIGGER ALL",
        "CREATE OR REPLACE FUNCTION cancel_setup(project_id uuid) RETURNS text LANGUAGE sql AS 'SELECT NULL'",
        "DROP FUNCTION cancel_setup(uuid)",
        "CREATE TRIGGER mine AFTER INSERT ON setup_requests EXECUTE FUNCTION projects_notify_status()",
    ],
)
def test_the_client_role_may_call_the_functions_and_do_nothing_else(sql: Sql, application: Sql, statement: str) -> None:
    made = project(sql)
    application.execute("SELECT setup_project(%s)", (made,))
    assert one(application, "SELECT cancel_setup(%s) AS answer", made)["answer"] == "ok"
    with pytest.raises(InsufficientPrivilege):
        application.execute(statement.encode())


SHADOWS = {
    "pg_notify(text, text) RETURNS void": "SELECT",
    "jsonb_typeof(jsonb) RETURNS text": "SELECT NULL::text",
    "octet_length(text) RETURNS int": "SELECT 0",
    "gen_random_uuid() RETURNS uuid": "SELECT NULL::uuid",
    "clock_timestamp() RETURNS timestamptz": "SELECT NULL::timestamptz",
    "now() RETURNS timestamptz": "SELECT NULL::timestamptz",
    "same(uuid, uuid) RETURNS boolean": "SELECT true",
}


def test_the_functions_use_nothing_from_the_schemas_of_their_callers(sql: Sql, database_url: str) -> None:
    """An application puts tables, functions and an operator of its own first on its search path."""
    made, other = project(sql), project(sql)
    sql.execute("CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO projectsetup_client")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET ROLE projectsetup_client")
        connection.execute("SET search_path = pg_temp, own, pg_catalog, public")
        for signature, body in SHADOWS.items():
            connection.execute(f"CREATE FUNCTION own.{signature} LANGUAGE sql AS '{body}'".encode())
        connection.execute("CREATE OPERATOR own.= (FUNCTION = own.same, LEFTARG = uuid, RIGHTARG = uuid)")
        for schema in ("pg_temp", "own"):
            connection.execute(f"CREATE TABLE {schema}.projects (id uuid, status text)".encode())
            connection.execute(f"CREATE TABLE {schema}.setup_requests (id uuid)".encode())
        connection.execute("SELECT public.setup_project(%s)", (made,))
        assert connection.execute("SELECT public.cancel_setup(%s)", (made,)).fetchone() == ("ok",)
    assert [(row["project_id"], row["kind"]) for row in requests(sql)] == [(made, "setup"), (made, "cancel")]
    assert all(row["requested_at"] for row in requests(sql))
    assert one(sql, "SELECT status FROM projects WHERE id = %s", other)["status"] == "created"


def test_the_owner_of_a_project_keeps_it_whatever_is_requested(sql: Sql, application: Sql) -> None:
    """Neither claim nor fence nor status of a setup that runs changes."""
    owner = {"owner_uid": "u", "owner_namespace": "n", "owner_name": "p"}
    made = project(sql, "testing", fence=7, namespace="n", **owner)
    before = one(sql, "SELECT * FROM projects")
    application.execute("SELECT setup_project(%s)", (made,))
    application.execute("SELECT cancel_setup(%s)", (made,))
    assert one(sql, "SELECT * FROM projects") == before


def notifications(listener: psycopg.Connection, expected: int) -> list[psycopg.Notify]:
    """So many notifications, awaited, and those that follow within a second."""
    return [*listener.notifies(timeout=30, stop_after=expected), *listener.notifies(timeout=1)]


def test_every_change_of_a_status_is_notified(sql: Sql, database_url: str) -> None:
    made = project(sql)
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN project_status")
        for status in ("setup_queued", "setup_queued", "initializing"):
            sql.execute("UPDATE projects SET status = %s", (status,))
        sql.execute("UPDATE projects SET description = 'other'")
        received = [json.loads(notify.payload) for notify in notifications(listener, 2)]
    assert [(each["id"], each["name"], each["status"]) for each in received] == [
        (str(made), str(made), "setup_queued"),
        (str(made), str(made), "initializing"),
    ]
    assert all(each["at"] for each in received)


def test_a_committed_request_is_notified(sql: Sql, database_url: str) -> None:
    made = project(sql)
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN setup_requests")
        with sql.transaction(force_rollback=True):
            sql.execute("SELECT setup_project(%s)", (made,))
        sql.execute("SELECT setup_project(%s)", (made,))
        assert len(notifications(listener, 1)) == 1

"""`projects …` and `migrate` on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import yaml

from projectsetup.projects import Owner, ProjectElsewhere, ProjectRecord, ProjectStatus
from projectsetup.projects.table import PROJECTS
from tests.support.command_line import CommandLine

SHELL = "$(touch /tmp/x) `id`; rm -rf / & | > \\ '\" * ~ [red]x[/red] :smile: 漢字"
OWNER = Owner("uid-1", "team-a", "p")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str) -> CommandLine:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.delenv("PROJECTSETUP_ALLOW_FILE_REPOS", raising=False)
    return CommandLine(capsys)


@pytest.fixture
def project(cli: CommandLine) -> str:
    return cli.ok("projects", "create", "--name", "App", "--code-repo", "https://git.example/app").out.strip()


def being_set_up(database_url: str, project_id: str) -> None:
    async def claim() -> None:
        async with ProjectRecord.connect(database_url) as record:
            await record.claim(UUID(project_id), OWNER, attempt=2, status=ProjectStatus.TESTING)

    asyncio.run(claim())


def failed(database_url: str, project_id: str, error: dict[str, Any]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        values = (json.dumps(error), project_id)
        connection.execute("UPDATE projects SET status = 'failed', setup_error = %s WHERE id = %s", values)


def test_create_prints_only_the_id(cli: CommandLine) -> None:
    out = cli.ok("projects", "create", "--name", "App", "--code-repo", "https://git.example/app").out
    assert out == f"{UUID(out.strip())}\n"


def test_an_id_may_be_given(cli: CommandLine) -> None:
    wanted = uuid4()
    arguments = ("--name", "App", "--code-repo", "https://git.example/app", "--id", str(wanted).upper())
    assert cli.ok("projects", "create", *arguments).out == f"{wanted}\n"
    line = cli.refused(2, "projects", "create", *arguments)
    assert line == f"another project already has this id: {wanted}"


def test_values_are_kept_to_the_letter(cli: CommandLine) -> None:
    project = cli.ok(
        "projects", "create", "--name", SHELL, "--description", "two\nlines [bold]",
        "--code-repo", "git@git.example:a/b", "--docs-repo", "ssh://git@git.example/docs",
    ).out.strip()  # fmt: skip
    shown = cli.ok("projects", "get", project, "-o", "json").json
    assert shown["name"] == SHELL
    assert shown["description"] == "two\nlines [bold]"
    assert (shown["code_repo"], shown["docs_repo"]) == ("git@git.example:a/b", "ssh://git@git.example/docs")
    assert f"Name             {SHELL}\n" in cli.ok("projects", "get", project).out
    assert "Description      two lines [bold]\n" in cli.ok("projects", "get", project).out
    assert f"  {SHELL}  " in cli.ok("projects", "list").out


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://u:geheim@git.example/a", "docs_repo: a repository URL must not contain a password"),
        ("https://0xa9fea9fe/a", "docs_repo: 169.254.169.254:443 is an internal address"),
        ("https://git.example/a", "code_repo and docs_repo must be different repositories"),
    ],
)
def test_an_unsafe_repository_is_refused(cli: CommandLine, url: str, problem: str) -> None:
    create = ("projects", "create", "--name", "App", "--code-repo", "https://git.example/a")
    line = cli.refused(2, *create, "--docs-repo", url)
    assert line.startswith(problem)
    assert "geheim" not in line
    assert cli.ok("projects", "list", "-o", "json").json == []


def test_files_as_repositories_must_be_allowed(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    create = ("projects", "create", "--name", "App", "--code-repo", "file:///srv/a.git", "--docs-repo", "/srv/b.git")
    assert "must not be a local path" in cli.refused(2, *create)
    monkeypatch.setenv("PROJECTSETUP_ALLOW_FILE_REPOS", "true")
    project = cli.ok(*create).out.strip()
    assert cli.ok("projects", "get", project, "-o", "json").json["docs_repo"] == "/srv/b.git"
    monkeypatch.setenv("PROJECTSETUP_ALLOW_FILE_REPOS", "perhaps")
    assert "PROJECTSETUP_ALLOW_FILE_REPOS" in cli.refused(2, *create)


def test_only_listed_hosts_where_there_is_a_list(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    create = ("projects", "create", "--name", "App", "--code-repo", "https://git.example/a")
    monkeypatch.setenv("PROJECTSETUP_GIT_HOSTS", "git.company.test, 10.0.0.7:8443")
    problem = "code_repo: git.example:443 is not one of the hosts in PROJECTSETUP_GIT_HOSTS"
    assert cli.refused(2, *create) == problem
    create = (*create[:-1], "https://10.0.0.7:8443/a")
    assert cli.ok(*create).out
    monkeypatch.setenv("PROJECTSETUP_GIT_HOSTS", "https://git.example")
    assert "'https://git.example' is not a host" in cli.refused(2, *create)


def test_json_and_yaml_hold_the_columns_of_the_record(cli: CommandLine, project: str) -> None:
    shown = cli.ok("projects", "get", project, "-o", "json").json
    assert set(shown) == {column.name for column in PROJECTS.columns}
    assert yaml.safe_load(cli.ok("projects", "get", project, "-o", "yaml").out) == shown
    assert cli.ok("projects", "list", "-o", "json").json == [shown]
    assert yaml.safe_load(cli.ok("projects", "list", "-o", "yaml").out) == [shown]


def test_the_table_names_owner_and_status(cli: CommandLine, project: str, database_url: str) -> None:
    being_set_up(database_url, project)
    header, line = cli.ok("projects", "list").out.splitlines()
    assert header.split() == ["ID", "NAME", "NAMESPACE", "STATUS", "OWNER", "UPDATED"]
    assert line.split()[:5] == [project, "App", "team-a", "testing", "team-a/p"]


def test_an_error_is_readable(cli: CommandLine, project: str, database_url: str) -> None:
    failed(database_url, project, {"reason": "StepFailed", "step": "test", "message": "2 failed\n\x1b[31m[red]x"})
    out = cli.ok("projects", "get", project).out
    assert "Error            StepFailed in step test: 2 failed \ufffd[31m[red]x\n" in out
    failed(database_url, project, {"reason": "Cancelled", "step": None, "message": "as asked", "more": [1]})
    assert 'Error            Cancelled: as asked {"more": [1]}\n' in cli.ok("projects", "get", project).out


def test_a_project_is_created_in_a_namespace_and_moved_to_another(cli: CommandLine, database_url: str) -> None:
    create = ("projects", "create", "--name", "App", "--code-repo", "https://git.example/app")
    assert "'Team A' is not a valid namespace name" in cli.refused(2, *create, "-n", "Team A")
    project = cli.ok(*create, "-n", "team-a").out.strip()
    assert cli.ok("projects", "list").out.splitlines()[1].split()[:4] == [project, "App", "team-a", "created"]
    assert "Namespace        team-a\n" in cli.ok("projects", "get", project).out
    assert cli.ok("projects", "update", project, "-n", "team-b").out == f"project App ({project}) updated\n"
    with pytest.raises(ProjectElsewhere):
        being_set_up(database_url, project)


def test_an_update_changes_only_what_is_given(cli: CommandLine) -> None:
    project = cli.ok(
        "projects", "create", "--name", "App", "--description", "text", "-n", "team-a",
        "--code-repo", "https://git.example/app", "--docs-repo", "https://git.example/docs",
    ).out.strip()  # fmt: skip
    before = cli.ok("projects", "get", project, "-o", "json").json
    for field, value in {
        "name": "Other", "description": "", "code_repo": "https://git.example/c", "docs_repo": "https://git.example/d",
    }.items():  # fmt: skip
        cli.ok("projects", "update", project, f"--{field.replace('_', '-')}", value)
        after = cli.ok("projects", "get", project, "-o", "json").json
        assert after.pop("fence") > before.pop("fence")
        assert {key for key in after if after[key] != before[key]} == {field, "updated_at"}
        assert after[field] == value
        before = cli.ok("projects", "get", project, "-o", "json").json
    cli.ok("projects", "update", project, "--docs-repo", "")
    assert cli.ok("projects", "get", project, "-o", "json").json["docs_repo"] is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "nothing to change; give at least one option"),
        (["--name", "Taken"], "already has this name: Taken"),
        (["--docs-repo", "https://git.example/app"], "code_repo and docs_repo must be different repositories"),
        (["--namespace", "Team B"], "'Team B' is not a valid namespace name"),
    ],
)
def test_an_update_is_checked_like_a_new_project(
    cli: CommandLine, project: str, arguments: list[str], problem: str
) -> None:
    cli.ok("projects", "create", "--name", "Taken", "--code-repo", "https://git.example/taken")
    before = cli.ok("projects", "get", project, "-o", "json").json
    assert problem in cli.refused(2, "projects", "update", project, *arguments)
    assert cli.ok("projects", "get", project, "-o", "json").json == before


def test_a_failed_project_is_reset(cli: CommandLine, project: str, database_url: str) -> None:
    failed(database_url, project, {"reason": "StepFailed", "step": "test", "message": "2 failed"})
    assert cli.ok("projects", "reset", project).out == f"project App ({project}) reset\n"
    shown = cli.ok("projects", "get", project, "-o", "json").json
    assert (shown["status"], shown["setup_error"], shown["attempt"], shown["fence"]) == ("created", None, 0, 1)


@pytest.mark.parametrize("command", [["reset"], ["update", "--name", "Other"], ["delete"]])
def test_a_missing_project_or_one_in_setup_is_not_changed(
    cli: CommandLine, project: str, database_url: str, command: list[str]
) -> None:
    unknown = str(uuid4())
    assert cli.refused(2, "projects", *command, unknown) == f"there is no project {unknown}"
    being_set_up(database_url, project)
    line = cli.refused(2, "projects", *command, project)
    assert line == f"project {project} is being set up (testing); cancel its setup first"


def test_a_project_can_be_deleted_once(cli: CommandLine, project: str) -> None:
    assert cli.ok("projects", "delete", project).out == f"project App ({project}) deleted\n"
    assert cli.refused(2, "projects", "delete", project) == f"there is no project {project}"
    assert cli.refused(2, "projects", "get", project) == f"there is no project {project}"
    assert cli.ok("projects", "list").out == "ID  NAME  NAMESPACE  STATUS  OWNER  UPDATED\n"


def test_migrate_prints_what_it_did(cli: CommandLine, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    line = cli.refused(3, "projects", "list")
    assert line.endswith("lacks the tables this version needs: run projectsetup migrate")
    assert cli.ok("migrate").out.splitlines() == [f"applied 000{number}" for number in range(1, 6)]
    assert cli.ok("migrate").out == "the database is up to date\n"
    assert cli.ok("projects", "list", "-o", "json").json == []

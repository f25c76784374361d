"""Projects as they are made, read and deleted, by the record and by other software with plain SQL."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql as text
from psycopg.errors import CheckViolation
from psycopg.errors import UniqueViolation as DriverUniqueViolation

from projectsetup.projects import (
    AlreadyTaken,
    InvalidProject,
    NoSuchProject,
    Owner,
    Project,
    ProjectRecord,
    ProjectStatus,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import LiteralString

    Sql = psycopg.Connection[tuple[object, ...]]

SHELL = "$(touch /tmp/x) `id` ; & | > < ' \" \\ * ? ~ # %s :name {a}"
OWNER = Owner("uid-1", "team-a", "name")


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


async def test_a_new_project_is_read_as_it_was_written(record: ProjectRecord) -> None:
    project_id = uuid4()
    made = await record.create(
        project_id=project_id,
        name=f" {SHELL} ",
        description="two\nlines",
        code_repo="https://git.example/a/b.git",
        docs_repo="git@git.example:a/b-docs.git",
    )
    assert made == await record.get(project_id)
    assert (made.id, made.name, made.description) == (project_id, SHELL, "two\nlines")
    assert (made.code_repo, made.docs_repo) == ("https://git.example/a/b.git", "git@git.example:a/b-docs.git")
    assert (made.status, made.setup_error, made.owner) == (ProjectStatus.CREATED, None, None)
    assert (made.attempt, made.fence, made.attempt_result) == (0, 0, None)
    assert made.inserted_at == made.updated_at
    assert made.slug == "touch-tmp-x-id-s-name-a"


async def test_a_missing_project_is_none(record: ProjectRecord) -> None:
    assert await record.get(uuid4()) is None
    assert await record.list() == ()
    assert await record.owned() == ()
    with pytest.raises(NoSuchProject):
        await record.delete(uuid4())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "another project already has this name: App"),
        ({"name": "Other"}, "another project already has this code_repo: https://git.example/app"),
        (
            {"name": "Other", "code_repo": "https://git.example/other"},
            "another project already has this docs_repo: https://git.example/docs",
        ),
    ],
)
async def test_a_conflict_names_the_field(record: ProjectRecord, changed: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {
        "name": "App",
        "code_repo": "https://git.example/app",
        "docs_repo": "https://git.example/docs",
    }
    await record.create(**values)
    with pytest.raises(InvalidProject) as caught:
        await record.create(**(values | changed))
    assert str(caught.value) == message
    assert len(await record.list()) == 1


SPELLINGS = (
    "https://git.example/team/app",
    "https://git.example/team/app.git",
    "https://git.example/team/app/",
    "https://git.example/team/app.git/",
    "https://git.example//team/app",
    "https://Git.EXAMPLE/team/app",
    "https://git.example:443/team/app",
    "https://git.example/team/%61pp",
    "git@git.example:team/app.git",
    "git@git.example:/team/app",
    "deploy@git.example:team/app",
    "ssh://git@git.example/team/app",
    "ssh://git@git.example:22/team/app.git",
)
OTHERS = (
    "https://git.example/team/app-docs",
    "https://git.example/team/App",
    "https://git.example/team/app.git.git",
    "https://git.example:8443/team/app",
    "https://git2.example/team/app",
    "ssh://git@git.example:2222/team/app",
    "git@git.example:team/app/code",
    "https://git.example/team/%61pp%zz%ff",
)


@pytest.mark.parametrize("field", ["code_repo", "docs_repo"])
async def test_a_repository_is_one_however_it_is_spelled(record: ProjectRecord, field: str) -> None:
    for spelling in SPELLINGS:
        code = await record.create(name="Code", code_repo=SPELLINGS[0])
        clash = re.escape(f"another project already has this {field}: {spelling}")
        spelled: dict[str, Any] = {field: spelling}
        with pytest.raises(InvalidProject, match=f"^{clash}$"):
            await record.create(**{"name": "Other", "code_repo": "https://git.example/x", **spelled})
        other = await record.create(name="Other", code_repo="https://git.example/x")
        with pytest.raises(InvalidProject, match=f"^{clash}$"):
            await record.update(other.id, **spelled)
        assert await record.list() == (code, other)
        await record.update(code.id, code_repo="https://git.example/moved")
        await record.update(other.id, **spelled)
        await record.delete(other.id)
        assert (await record.update(code.id, docs_repo=spelling)).docs_repo == spelling
        await record.delete(code.id)


async def test_code_and_documentation_need_different_repositories(record: ProjectRecord) -> None:
    clash = r"^code_repo and docs_repo must be different repositories$"
    for spelling in SPELLINGS:
        with pytest.raises(InvalidProject, match=clash):
            await record.create(name="App", code_repo=SPELLINGS[1], docs_repo=spelling)
        made = await record.create(name="App", code_repo=SPELLINGS[1])
        with pytest.raises(InvalidProject, match=clash):
            await record.update(made.id, docs_repo=spelling)
        assert (await record.update(made.id, code_repo=spelling)).code_repo == spelling  # only the spelling changes
        await record.delete(made.id)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "App"), ("code_repo", "https://GIT.example/app.git"), ("docs_repo", "git@git.example:app")],
)
async def test_a_clash_tells_who_has_the_value_only_when_asked(record: ProjectRecord, field: str, value: str) -> None:
    holder = await record.create(name="App", code_repo="https://git.example/app", namespace="team-a")
    given: dict[str, Any] = {"name": "Other", "code_repo": "https://git.example/other", field: value}
    with pytest.raises(AlreadyTaken) as clash:
        await record.create(**given, namespace="team-b")
    assert clash.value.holder == holder
    assert clash.value.naming_holder() == f"project App ({holder.id}) already has this {field}: {value}"
    assert str(clash.value) == f"another project already has this {field}: {value}"


async def test_a_project_is_found_by_its_exact_name(record: ProjectRecord) -> None:
    made = await record.create(name="Café  x", code_repo="https://git.example/app")
    names = ("Cafe\u0301  x", " Café  x ", "café  x", "")
    assert [await record.named(name) for name in names] == [made, made, None, None]


async def test_similar_repositories_are_distinct(record: ProjectRecord) -> None:
    for number, url in enumerate((SPELLINGS[0], *OTHERS)):
        await record.create(name=str(number), code_repo=url)
    for number, url in enumerate(("/srv/a.git", "/srv/b.git")):
        await record.create(name=f"local {number}", code_repo=url, allow_file_repos=True)
    with pytest.raises(InvalidProject, match="another project already has this code_repo"):
        await record.create(name="local 3", code_repo="file:///srv//a", allow_file_repos=True)


async def test_code_and_documentation_can_swap_repositories(record: ProjectRecord) -> None:
    one, two = "https://git.example/one", "https://git.example/two"
    made = await record.create(name="App", code_repo=one, docs_repo=two)
    changed = await record.update(made.id, code_repo=two, docs_repo=one)
    assert (changed.code_repo, changed.docs_repo) == (two, one)


async def test_the_database_enforces_the_rules_for_other_software(record: ProjectRecord, sql: Sql) -> None:
    await record.create(name="App", code_repo=SPELLINGS[0])
    with pytest.raises(DriverUniqueViolation) as caught:
        sql.execute(
            "INSERT INTO projects (name, code_repo, docs_repo) VALUES ('B', 'https://x.example/b', %s)", [SPELLINGS[3]]
        )
    assert caught.value.diag.constraint_name == "projects_docs_repo_key"
    sql.execute("INSERT INTO projects (name, code_repo) VALUES ('B', 'https://x.example/b')")
    with pytest.raises(InvalidProject, match="another project already has this docs_repo"):
        await record.create(name="C", code_repo="https://x.example/c", docs_repo="git@x.example:b")


async def test_one_of_several_concurrent_projects_gets_the_repository(record: ProjectRecord) -> None:
    asked = [record.create(name=f"{number}", code_repo=url) for number, url in enumerate(SPELLINGS)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(result, Project) for result in results) == 1
    assert sum(isinstance(result, InvalidProject) for result in results) == len(SPELLINGS) - 1


async def test_composed_and_decomposed_names_are_the_same(record: ProjectRecord, sql: Sql) -> None:
    made = await record.create(name="Cafe\u0301", code_repo="https://git.example/a")
    assert made.name == "Caf\u00e9"
    with pytest.raises(InvalidProject, match="another project already has this name"):
        await record.create(name="Caf\u00e9", code_repo="https://git.example/b")
    with pytest.raises(DriverUniqueViolation, match="projects_name_key"):
        sql.execute("INSERT INTO projects (name, code_repo) VALUES (%s, 'https://x.example/b')", ["Cafe\u0301"])


async def test_an_id_is_used_once(record: ProjectRecord) -> None:
    made = await record.create(name="One", code_repo="https://git.example/one")
    with pytest.raises(InvalidProject, match=f"another project already has this id: {made.id}"):
        await record.create(project_id=made.id, name="Two", code_repo="https://git.example/two")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": ""}, "the name must not be empty"),
        ({"code_repo": "/srv/a.git"}, "code_repo: .*local path"),
        ({"docs_repo": "--upload-pack=x"}, "docs_repo: .*'-'"),
        ({"description": "\0"}, "description"),
    ],
)
async def test_invalid_values_are_refused(record: ProjectRecord, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProject, match=message):
        await record.create(**({"name": "App", "code_repo": "https://git.example/a"} | values))
    assert await record.list() == ()


async def test_projects_are_listed_oldest_first(record: ProjectRecord) -> None:
    names = ["c", "a", "b"]
    for name in names:
        await record.create(name=name, code_repo=f"https://git.example/{name}")
    assert [project.name for project in await record.list()] == names


async def test_other_software_may_insert_the_bare_minimum(record: ProjectRecord, sql: Sql) -> None:
    project_id = uuid4()
    sql.execute("INSERT INTO projects (id, name, code_repo) VALUES (%s, 'Plain', 'https://x.example/y')", [project_id])
    sql.execute("INSERT INTO projects (name, code_repo, description) VALUES ('NoId', 'https://x.example/z', NULL)")
    plain, without_id = await record.list()
    assert (plain.id, plain.status, plain.description, plain.fence) == (project_id, ProjectStatus.CREATED, "", 0)
    assert isinstance(without_id.id, UUID)
    assert without_id.description == ""
    claimed = await record.claim(project_id, OWNER, attempt=1, status=ProjectStatus.INITIALIZING)
    error = {"reason": "StepFailed", "step": "tests", "message": "2 failed"}
    await record.finish(project_id, claimed.fence, status=ProjectStatus.FAILED, setup_error=error, result={})
    found = sql.execute("SELECT status, setup_error FROM projects WHERE id = %s", [project_id]).fetchone()
    assert found == ("failed", error)


async def test_no_error_is_sql_null(record: ProjectRecord, sql: Sql) -> None:
    made = await record.create(name="App", code_repo="https://git.example/a")
    claimed = await record.claim(made.id, OWNER, attempt=1, status=ProjectStatus.INITIALIZING)
    nulls = "SELECT setup_error IS NULL, attempt_result IS NULL FROM projects"
    assert sql.execute(nulls).fetchone() == (True, True)
    await record.finish(made.id, claimed.fence, status=ProjectStatus.READY, setup_error=None, result={"a": 1})
    assert sql.execute(nulls).fetchone() == (True, False)


async def test_any_output_of_a_step_can_be_stored(record: ProjectRecord) -> None:
    made = await record.create(name="App", code_repo="https://git.example/a")
    claimed = await record.claim(made.id, OWNER, attempt=1, status=ProjectStatus.INITIALIZING)
    error = {"message": "nul \0 surrogate \udc80 text \\u0000 ümlaut 🚀", "parts": ["\0"]}
    assert await record.finish(made.id, claimed.fence, status=ProjectStatus.FAILED, setup_error=error, result=error)
    stored = await record.get(made.id)
    assert stored is not None
    assert stored.setup_error == {"message": "nul \ufffd surrogate ? text \\u0000 ümlaut 🚀", "parts": ["\ufffd"]}


@pytest.mark.parametrize(
    "change",
    [
        "status = 'compiled'",
        "name = ''",
        "docs_repo = code_repo",
        "owner_uid = 'half a claim'",
        "attempt = -1",
        "fence = 6",
    ],
)
async def test_the_table_has_its_constraints(record: ProjectRecord, sql: Sql, change: LiteralString) -> None:
    await record.create(name="App", code_repo="https://git.example/a")
    sql.execute("UPDATE projects SET fence = 7")
    with pytest.raises(CheckViolation):
        sql.execute(text.SQL("UPDATE projects SET {}").format(text.SQL(change)))
    assert [(project.status, project.fence) for project in await record.list()] == [(ProjectStatus.CREATED, 7)]


@pytest.mark.parametrize("column", ["name", "code_repo", "docs_repo"])
async def test_names_and_repositories_are_unique(record: ProjectRecord, sql: Sql, column: str) -> None:
    for name in ("a", "b"):
        await record.create(
            name=name, code_repo=f"https://g.example/{name}", docs_repo=f"https://g.example/{name}-docs"
        )
    with pytest.raises(DriverUniqueViolation, match=f"projects_{column}_key"):
        sql.execute(text.SQL("UPDATE projects SET {} = 'https://g.example/same'").format(text.Identifier(column)))


async def test_every_write_sets_updated_at(record: ProjectRecord, sql: Sql) -> None:
    made = await record.create(name="App", code_repo="https://git.example/a")
    claimed = await record.claim(made.id, OWNER, attempt=1, status=ProjectStatus.INITIALIZING)
    assert claimed.updated_at > made.updated_at
    sql.execute("UPDATE projects SET description = 'by somebody else'")
    stored = await record.get(made.id)
    assert stored is not None
    assert stored.updated_at > claimed.updated_at
    assert stored.inserted_at == made.inserted_at

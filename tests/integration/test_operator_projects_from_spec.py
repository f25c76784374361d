"""Projects that exist in git alone: the operator creates their records from `spec.project`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import yaml
from psycopg.rows import dict_row

from projectsetup.api.constants import API_VERSION, KIND
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Row, Sandbox, message
from tests.support.setup_handle import Setup

NUMBER = 100


@pytest.fixture(scope="module")
def git(new_sandbox: NewSandbox) -> Iterator[Sandbox]:
    with new_sandbox(concurrency="12") as sandbox:
        sandbox.operator.start()
        yield sandbox


def fields(**given: str) -> dict[str, str]:
    """The fields of a project that no other project has, but for those given."""
    unique = str(uuid4())
    return {"name": unique, "codeRepo": f"file:///nowhere/{unique}.git", **given}


def ended(sandbox: Sandbox, project: str | None = None, **given: str) -> tuple[str, str]:
    """Reason and message of a ProjectSetup with this `spec.project`, once it has ended."""
    spec = {"project": fields(**given)}
    setup = Setup.make(sandbox, project=project or str(uuid4()), spec=spec)
    why, status = setup.ended()
    return why, message(status)


def records(sandbox: Sandbox) -> list[Row]:
    with psycopg.connect(sandbox.database_url, row_factory=dict_row) as sql:
        return sql.execute("SELECT * FROM projects ORDER BY id").fetchall()


def versions(sandbox: Sandbox) -> dict[str, str]:
    items = yaml.safe_load(sandbox.api.kubectl("get", "projectsetups", "-o", "yaml"))["items"]
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


def events(sandbox: Sandbox) -> int:
    """How many there are, without those of starts, which only attempts have that run for a second."""
    found = yaml.safe_load(sandbox.api.kubectl("get", "events.events.k8s.io", "-o", "yaml"))["items"]
    return sum(event["reason"] != "Started" for event in found)


def test_an_empty_system_is_set_up_from_git_and_a_second_apply_changes_nothing(
    new_sandbox: NewSandbox, tmp_path: Path
) -> None:
    names = sorted(str(uuid4()) for _ in range(NUMBER))
    bodies = [
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name},
            "spec": {"recipe": "instant", "project": fields()},
        }
        for name in names
    ]
    file = tmp_path / "projects.yaml"
    file.write_text(yaml.safe_dump_all(bodies))
    with new_sandbox(concurrency="12") as sandbox:
        sandbox.operator.start()
        sandbox.api.kubectl("apply", "-f", str(file), limit=120.0)
        wait_for(
            lambda: len(sandbox.api.select("status.phase=Succeeded")) == NUMBER,
            f"{NUMBER} projects to be ready",
            limit=120,
        )
        wait_for(lambda: events(sandbox) == NUMBER, "an event of each end")
        first, seen = records(sandbox), versions(sandbox)
        assert {row["status"] for row in first} == {"ready"}
        assert [(str(row["id"]), row["namespace"]) for row in first] == [
            (name, sandbox.api.namespace) for name in names
        ]
        again = sandbox.api.kubectl("apply", "-f", str(file), limit=120.0).splitlines()
        assert [line.split()[-1] for line in again] == ["unchanged"] * NUMBER
        one_more = Setup.make(sandbox, project=str(uuid4()), spec={"project": fields()})
        assert one_more.ended()[0] == "SetupSucceeded"  # so the operator has seen all that came before
        one_more.wait_for_events("Succeeded")
        assert [row for row in records(sandbox) if str(row["id"]) != one_more.name] == first
        assert versions(sandbox) == seen | {one_more.name: one_more.body["metadata"]["resourceVersion"]}
        assert events(sandbox) == NUMBER + 1


def test_a_name_that_is_taken_is_one_clear_line(git: Sandbox) -> None:
    git.project(name="Taken")
    why, text = ended(git, name="Taken")
    assert why == "InvalidSpec"
    assert text == "spec.project: another project already has this name: Taken"


@pytest.mark.parametrize(("field", "named"), [("codeRepo", "code_repo"), ("docsRepo", "docs_repo")])
def test_two_that_claim_one_repository_are_one_clear_line(git: Sandbox, field: str, named: str) -> None:
    """The second one is refused; the message names the first, which is of the same namespace."""
    first, repository = str(uuid4()), f"file:///nowhere/{uuid4()}.git"
    assert ended(git, first, **{"name": f"First {named}", field: repository})[0] == "SetupSucceeded"
    why, text = ended(git, **{field: repository})
    assert why == "InvalidSpec"
    assert text == f"spec.project: project First {named} ({first}) already has this {named}: {repository}"


def test_a_record_that_says_otherwise_is_one_clear_line(git: Sandbox) -> None:
    project = git.project(name="Ours")
    why, text = ended(git, project, name="Theirs")
    assert why == "InvalidSpec"
    assert text == "spec.project.name is 'Theirs', but the project's is 'Ours'"
    assert git.record(project)["status"] == "created"


def test_projects_that_an_administrator_creates_alone_are_one_clear_line(new_sandbox: NewSandbox) -> None:
    with new_sandbox(projects_from_spec="false") as sandbox:
        sandbox.operator.start()
        project = str(uuid4())
        why, text = ended(sandbox, project)
        assert why == "ProjectNotFound"
        assert text == (
            f"project {project} does not exist, and this operator does not create projects from spec"
            " (PROJECTSETUP_PROJECTS_FROM_SPEC is false)"
        )
        assert records(sandbox) == []

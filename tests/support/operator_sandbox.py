"""One operator with its own namespace and database, and the projects that it sets up."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from tests.support.api_server import ApiServer, Body
from tests.support.operator_process import OperatorProcess, wait_for

RECIPES: Final = Path(__file__).parents[1] / "recipes"
ENDED: Final = ("Succeeded", "Failed", "Cancelled")
PREFIX: Final = "setup.codemyspec.com/"
NO_BACKOFF: Final = {"backoff": "1ms"}
"""Annotation with which the next attempt starts at once."""

Row = dict[str, Any]


class Sandbox:
    """An operator that is not started yet; `settings` and `environment` are those of OperatorProcess."""

    def __init__(
        self,
        folder: Path,
        *,
        kubeconfig: Path,
        database_url: str,
        environment: Mapping[str, str] | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.api = ApiServer.prepared(kubeconfig, "stage")
        self.database_url = database_url
        defaults = {
            "leader_election": "false",
            "namespaces": self.api.namespace,
            "operator_namespace": self.api.namespace,
            "recipes_dir": str(RECIPES),
        }
        self.operator = OperatorProcess(
            folder,
            kubeconfig=kubeconfig,
            database_url=database_url,
            environment=environment,
            **{**defaults, **settings},
        )

    def project(self, *, name: str | None = None, code_repo: str | None = None, docs_repo: str | None = None) -> str:
        """Insert a project into the database without validation; returns its id."""
        project_id = str(uuid.uuid4())
        with psycopg.connect(self.database_url) as connection:
            connection.execute(
                "INSERT INTO projects (id, name, description, code_repo, docs_repo) VALUES (%s, %s, %s, %s, %s)",
                (project_id, name or project_id, "two\nlines", code_repo or f"/nowhere/{project_id}.git", docs_repo),
            )
        return project_id

    def apply(
        self, project_id: str, recipe: str, *, annotations: Mapping[str, str] | None = None, **spec: object
    ) -> str:
        """Create the ProjectSetup of a project; annotations are named without their prefix."""
        named = {PREFIX + name: value for name, value in (annotations or {}).items()}
        self.api.create(project_id, spec={"recipe": recipe, **spec}, annotations=named)
        return project_id

    def annotate(self, project_id: str, name: str, value: str) -> None:
        """Set one annotation, named without its prefix."""
        self.api.patch(project_id, {"metadata": {"annotations": {PREFIX + name: value}}})

    def status(self, project_id: str) -> Body:
        """The `.status` of the ProjectSetup."""
        status: Body = self.api.get(project_id).get("status", {})
        return status

    def ended(self, project_id: str, *, limit: float = 30.0) -> Body:
        """The status of a ProjectSetup once its setup has ended."""
        return self.reached(project_id, *ENDED, limit=limit)

    def reached(self, project_id: str, *phases: str, limit: float = 30.0) -> Body:
        """The status of a ProjectSetup once it has one of these phases."""
        try:
            wait_for(
                lambda: self.status(project_id).get("phase") in phases,
                f"ProjectSetup {project_id} to be {' or '.join(phases)}",
                limit=limit,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.status(project_id)}\n{self.operator.log_tail()}") from None
        return self.status(project_id)

    def record(self, project_id: str) -> Row:
        """The row of a project."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            row = connection.execute("SELECT * FROM projects WHERE id = %s", (project_id,)).fetchone()
        assert row is not None, f"there is no project {project_id}"
        return row

    def wait_for_events(self, project_id: str, *reasons: str) -> None:
        """Return once a ProjectSetup has exactly these events in this order."""
        wait_for(
            lambda: [event["reason"] for event in self.api.events(project_id)] == list(reasons),
            f"the events {', '.join(reasons)} on {project_id}",
        )

    def published_texts(self) -> dict[str, str]:
        """All texts that the operator publishes, by place: log, resources, events, database and metrics."""
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute("SELECT projects::text FROM projects").fetchall()
        return {
            "log": self.operator.log.read_text(errors="replace"),
            "resources": self.api.kubectl("get", "projectsetups", "-o", "json"),
            "events": self.api.kubectl("get", "events.events.k8s.io", "-o", "json"),
            "database": "\n".join(row[0] for row in rows),
            "metrics": self.operator.get("/metrics")[1],
        }


NewSandbox = Callable[..., AbstractContextManager[Sandbox]]
"""The fixture `new_sandbox`; its arguments are those of Sandbox."""


def reason(status: Body) -> str:
    """The reason of the condition `Succeeded`."""
    return next((c["reason"] for c in status.get("conditions", ()) if c["type"] == "Succeeded"), "")


def message(status: Body) -> str:
    """The message of the condition `Succeeded`."""
    return next((c["message"] for c in status.get("conditions", ()) if c["type"] == "Succeeded"), "")

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
from tests.support.operator_process import OperatorProcess

RECIPES: Final = Path(__file__).parents[1] / "recipes"
ENDED: Final = ("Succeeded", "Failed", "Cancelled")
PREFIX: Final = "setup.codemyspec.com/"
NO_BACKOFF: Final = {"backoff": "1ms"}
"""Annotation with which the next attempt starts at once."""

PUBLISHED: Final = (
    "SELECT projects::text FROM projects",
    "SELECT setup_attempts::text FROM setup_attempts",
    "SELECT setup_logs::text FROM setup_logs",
    "SELECT run_name || step || text FROM setup_log_rows",
    "SELECT string_agg(text, '' ORDER BY number) FROM setup_log_rows GROUP BY run_name",
)
"""What the database holds of setups; an output both by row and as a whole."""

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

    def secret(self, **values: str) -> Body:
        """Create a Secret, and return how a spec refers to it; `_` stands for `-` in `ssh_privatekey`."""
        name = f"secret-{uuid.uuid4().hex[:8]}"
        literals = [f"--from-literal={key.replace('ssh_', 'ssh-')}={value}" for key, value in values.items()]
        self.api.kubectl("create", "secret", "generic", name, *literals)
        return {"name": name}

    def record(self, project_id: str) -> Row:
        """The row of a project."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            row = connection.execute("SELECT * FROM projects WHERE id = %s", (project_id,)).fetchone()
        assert row is not None, f"there is no project {project_id}"
        return row

    def published_texts(self) -> dict[str, str]:
        """All texts that the operator publishes, by place: log, resources, events, database and metrics."""
        with psycopg.connect(self.database_url) as connection:
            rows = [row for table in PUBLISHED for row in connection.execute(table).fetchall()]
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

"""The table `projects`, as the migrations leave it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from projectsetup.projects.model import ProjectStatus

METADATA = MetaData()

NAME_KEY = "projects_name_key"
CODE_REPO_KEY = "projects_code_repo_key"
DOCS_REPO_KEY = "projects_docs_repo_key"
PRIMARY_KEY = "projects_pkey"
REPOS_CHECK = "projects_repos_check"

PROJECTS = Table(
    "projects",
    METADATA,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("name", String(100), nullable=False),
    Column("description", Text, server_default=""),
    Column("code_repo", Text, nullable=False),
    Column("docs_repo", Text),
    Column("status", Text, nullable=False, server_default=ProjectStatus.CREATED),
    Column("setup_error", JSONB(none_as_null=True)),
    Column("inserted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("owner_uid", Text),
    Column("owner_namespace", Text),
    Column("owner_name", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("attempt_result", JSONB(none_as_null=True)),
    Column("namespace", Text),
    UniqueConstraint("name", name=NAME_KEY),
    UniqueConstraint("code_repo", name=CODE_REPO_KEY),
    UniqueConstraint("docs_repo", name=DOCS_REPO_KEY),
    CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="projects_name_check"),
    CheckConstraint("docs_repo <> code_repo", name=REPOS_CHECK),
    CheckConstraint(f"status IN ({', '.join(repr(str(s)) for s in ProjectStatus)})", name="projects_status_check"),
    CheckConstraint("num_nulls(owner_uid, owner_namespace, owner_name) IN (0, 3)", name="projects_owner_check"),
    CheckConstraint("attempt >= 0", name="projects_attempt_check"),
    CheckConstraint("fence >= 0", name="projects_fence_check"),
    CheckConstraint("namespace ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'", name="projects_namespace_check"),
)

PROJECT_REPOSITORIES = Table(
    "project_repositories",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("project_id", Uuid, nullable=False),
    Column("field", Text, nullable=False),
    PrimaryKeyConstraint("key", name="project_repositories_pkey"),
    UniqueConstraint("project_id", "field", name="project_repositories_field_key"),
    ForeignKeyConstraint(
        ["project_id"],
        ["projects.id"],
        name="project_repositories_project_fkey",
        onupdate="CASCADE",
        ondelete="CASCADE",
    ),
)
"""Which project has which repository, in a canonical spelling; a trigger on `projects` maintains it."""

SETUP_REQUESTS = Table(
    "setup_requests",
    METADATA,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("project_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("recipe", Text),
    Column("parameters", JSONB),
    Column("priority", Integer),
    Column("max_attempts", Integer),
    Column("backoff", Text),
    Column("credentials_secret", Text),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("handled_at", DateTime(timezone=True)),
    Column("error", Text),
    PrimaryKeyConstraint("id", name="setup_requests_pkey"),
    CheckConstraint("kind IN ('setup', 'cancel')", name="setup_requests_kind_check"),
    ForeignKeyConstraint(
        ["project_id"], ["projects.id"], name="setup_requests_project_fkey", onupdate="CASCADE", ondelete="CASCADE"
    ),
)
Index(
    "setup_requests_pending",
    SETUP_REQUESTS.c.number,
    postgresql_where=SETUP_REQUESTS.c.handled_at.is_(None),
)
Index("setup_requests_project", SETUP_REQUESTS.c.project_id, SETUP_REQUESTS.c.number)
"""What applications have requested in SQL; `number` is the order of the requests for one project."""


SETUP_ATTEMPTS = Table(
    "setup_attempts",
    METADATA,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("project_id", Uuid, nullable=False),
    Column("namespace", Text),
    Column("setup_uid", Text),
    Column("queued_at", DateTime(timezone=True)),
    Column("attempt", Integer, nullable=False),
    Column("run_name", Text),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True), nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("step", Text),
    Column("exit_code", Integer),
    Column("steps", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("code_commit", Text),
    Column("docs_commit", Text),
    Column("recipe", Text),
    Column("recipe_digest", Text),
    Column("engine", Text),
    Column("operator_version", Text),
    PrimaryKeyConstraint("id", name="setup_attempts_pkey"),
    ForeignKeyConstraint(
        ["project_id"], ["projects.id"], name="setup_attempts_project_fkey", onupdate="CASCADE", ondelete="CASCADE"
    ),
)
Index("setup_attempts_project", SETUP_ATTEMPTS.c.project_id, SETUP_ATTEMPTS.c.id)
"""Every attempt that has ended, of every ProjectSetup that the project has had."""

SETUP_LOGS = Table(
    "setup_logs",
    METADATA,
    Column("run_name", Text, nullable=False),
    Column("project_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("fence", BigInteger, nullable=False),
    Column("steps", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("position", JSONB),
    Column("tail_from", Integer),
    Column("lines_left_out", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("run_name", name="setup_logs_pkey"),
    ForeignKeyConstraint(
        ["project_id"], ["projects.id"], name="setup_logs_project_fkey", onupdate="CASCADE", ondelete="CASCADE"
    ),
)
Index("setup_logs_project", SETUP_LOGS.c.project_id, SETUP_LOGS.c.started_at)
Index("setup_logs_updated", SETUP_LOGS.c.updated_at)
"""The log of each attempt. Rows before `tail_from` are its head; `lines_left_out` are missing before the others."""

SETUP_LOG_ROWS = Table(
    "setup_log_rows",
    METADATA,
    Column("run_name", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("run_name", "number", name="setup_log_rows_pkey"),
    ForeignKeyConstraint(["run_name"], ["setup_logs.run_name"], name="setup_log_rows_log_fkey", ondelete="CASCADE"),
)
"""Lines of one step that were printed within one second."""

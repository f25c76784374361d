"""The table `projects`."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_TABLE = """
CREATE TABLE projects (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name varchar(100) NOT NULL,
    description text DEFAULT '',
    code_repo text NOT NULL,
    docs_repo text,
    status text NOT NULL DEFAULT 'created',
    setup_error jsonb,
    inserted_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    owner_uid text,
    owner_namespace text,
    owner_name text,
    attempt integer NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,
    attempt_result jsonb,
    CONSTRAINT projects_pkey PRIMARY KEY (id),
    CONSTRAINT projects_name_key UNIQUE (name),
    CONSTRAINT projects_code_repo_key UNIQUE (code_repo),
    CONSTRAINT projects_docs_repo_key UNIQUE (docs_repo),
    CONSTRAINT projects_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT projects_repos_check CHECK (docs_repo <> code_repo),
    CONSTRAINT projects_status_check CHECK (status IN (
        'created', 'setup_queued', 'initializing', 'deps_installing', 'setting_up_auth',
        'compiling', 'testing', 'committing', 'ready', 'failed'
    )),
    CONSTRAINT projects_owner_check CHECK (num_nulls(owner_uid, owner_namespace, owner_name) IN (0, 3)),
    CONSTRAINT projects_attempt_check CHECK (attempt >= 0),
    CONSTRAINT projects_fence_check CHECK (fence >= 0)
)
"""

_FUNCTION = """
CREATE FUNCTION projects_before_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.fence < OLD.fence THEN
        RAISE EXCEPTION 'the fence of project % may only grow', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'projects_fence_grows';
    END IF;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$
"""

_TRIGGER = """
CREATE TRIGGER projects_before_update BEFORE UPDATE ON projects
FOR EACH ROW EXECUTE FUNCTION projects_before_update()
"""


def upgrade() -> None:
    """Creates the table; every write moves `updated_at`, and no write moves the fence back."""
    op.execute(_TABLE)
    op.execute(_FUNCTION)
    op.execute(_TRIGGER)

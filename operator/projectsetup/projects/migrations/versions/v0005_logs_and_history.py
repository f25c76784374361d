"""The history of all attempts, and the logs of the latest."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_ATTEMPTS = """
CREATE TABLE setup_attempts (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL,
    namespace text,
    setup_uid text,
    queued_at timestamptz,
    attempt integer NOT NULL,
    run_name text,
    started_at timestamptz,
    finished_at timestamptz NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    message text NOT NULL,
    step text,
    exit_code integer,
    steps jsonb NOT NULL DEFAULT '[]',
    code_commit text,
    docs_commit text,
    recipe text,
    recipe_digest text,
    engine text,
    operator_version text,
    CONSTRAINT setup_attempts_pkey PRIMARY KEY (id),
    CONSTRAINT setup_attempts_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id)
        ON UPDATE CASCADE ON DELETE CASCADE
)
"""

_ATTEMPTS_BY_PROJECT = "CREATE INDEX setup_attempts_project ON setup_attempts (project_id, id)"

_RECORDED = """
INSERT INTO setup_attempts (project_id, namespace, setup_uid, attempt, finished_at, outcome, reason, message, step,
    exit_code, code_commit, docs_commit, recipe)
SELECT id, owner_namespace, owner_uid, (attempt_result ->> 'attempt')::integer,
    (attempt_result ->> 'finished_at')::timestamptz,
    CASE attempt_result ->> 'kind' WHEN 'RetryScheduled' THEN 'Failed' ELSE attempt_result ->> 'kind' END,
    coalesce(attempt_result #>> '{failure,reason}', attempt_result ->> 'reason'),
    coalesce(attempt_result #>> '{failure,message}', attempt_result ->> 'message'),
    attempt_result #>> '{failure,step}', (attempt_result #>> '{failure,exit_code}')::integer,
    attempt_result #>> '{commits,code_repo}', attempt_result #>> '{commits,docs_repo}', attempt_result ->> 'recipe'
FROM projects
WHERE (attempt_result ->> 'attempt')::integer > 0 AND attempt_result ->> 'finished_at' IS NOT NULL
    AND attempt_result ->> 'kind' IS NOT NULL AND attempt_result ->> 'reason' IS NOT NULL
    AND attempt_result ->> 'message' IS NOT NULL
ORDER BY attempt_result ->> 'finished_at'
"""

_LOGS = """
CREATE TABLE setup_logs (
    run_name text NOT NULL,
    project_id uuid NOT NULL,
    attempt integer NOT NULL,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    fence bigint NOT NULL,
    steps jsonb NOT NULL DEFAULT '[]',
    position jsonb,
    tail_from integer,
    lines_left_out bigint NOT NULL DEFAULT 0,
    CONSTRAINT setup_logs_pkey PRIMARY KEY (run_name),
    CONSTRAINT setup_logs_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id)
        ON UPDATE CASCADE ON DELETE CASCADE
)
"""

_LOGS_BY_PROJECT = "CREATE INDEX setup_logs_project ON setup_logs (project_id, started_at)"

_LOGS_BY_AGE = "CREATE INDEX setup_logs_updated ON setup_logs (updated_at)"

_ROWS = """
CREATE TABLE setup_log_rows (
    run_name text NOT NULL,
    number integer NOT NULL,
    step text NOT NULL,
    at timestamptz NOT NULL,
    text text NOT NULL,
    CONSTRAINT setup_log_rows_pkey PRIMARY KEY (run_name, number),
    CONSTRAINT setup_log_rows_log_fkey FOREIGN KEY (run_name) REFERENCES setup_logs (run_name) ON DELETE CASCADE
)
"""


def upgrade() -> None:
    """Adds the tables, and puts the attempts whose end the record still has into the history."""
    for statement in (_ATTEMPTS, _ATTEMPTS_BY_PROJECT, _RECORDED, _LOGS, _LOGS_BY_PROJECT, _LOGS_BY_AGE, _ROWS):
        op.execute(statement)

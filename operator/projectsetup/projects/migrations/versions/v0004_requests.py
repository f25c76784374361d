"""Setups requested in SQL, and a notification for every change of a project's status."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"

CLIENT_ROLE = "projectsetup_client"

_TABLE = """
CREATE TABLE setup_requests (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL,
    kind text NOT NULL,
    recipe text,
    parameters jsonb,
    priority integer,
    max_attempts integer,
    backoff text,
    credentials_secret text,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    handled_at timestamptz,
    error text,
    CONSTRAINT setup_requests_pkey PRIMARY KEY (id),
    CONSTRAINT setup_requests_kind_check CHECK (kind IN ('setup', 'cancel')),
    CONSTRAINT setup_requests_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id)
        ON UPDATE CASCADE ON DELETE CASCADE
)
"""

_PENDING = "CREATE INDEX setup_requests_pending ON setup_requests (number) WHERE handled_at IS NULL"

_BY_PROJECT = "CREATE INDEX setup_requests_project ON setup_requests (project_id, number)"

# The row of the project is locked first, so that requests for one project are numbered in the order of their commits.
_SETUP = r"""
CREATE FUNCTION setup_project(
    project_id uuid, recipe text DEFAULT NULL, parameters jsonb DEFAULT NULL, priority int DEFAULT NULL,
    max_attempts int DEFAULT NULL, backoff text DEFAULT NULL, credentials_secret text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    current_status text;
    request uuid;
    label CONSTANT text := '[a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?';
    problem text := CASE
        WHEN project_id IS NULL THEN 'project_id is null'
        WHEN octet_length(recipe) > 63 OR recipe !~ ('^' || label || '$')
            THEN 'recipe must be at most 63 lower-case letters, digits and "-"'
        WHEN jsonb_typeof(parameters) <> 'object' THEN 'parameters must be a JSON object'
        WHEN jsonb_typeof(parameters) = 'object' AND EXISTS (
            SELECT FROM jsonb_each(parameters) AS given WHERE jsonb_typeof(given.value) <> 'string'
        ) THEN 'parameters must have strings as values'
        WHEN NOT priority BETWEEN 0 AND 9 THEN format('priority must be 0 to 9, not %s', priority)
        WHEN NOT max_attempts BETWEEN 1 AND 20 THEN format('max_attempts must be 1 to 20, not %s', max_attempts)
        WHEN octet_length(backoff) > 32 OR backoff !~ '^([0-9]{{1,7}}(\.[0-9]+)?(h|m|s|ms))+$' OR backoff !~ '[1-9]'
            THEN 'backoff must be a duration greater than 0, such as 90s, 1m30s or 2h'
        WHEN octet_length(credentials_secret) > 253
            OR credentials_secret !~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'
            THEN 'credentials_secret must be the name of a Secret'
    END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'setup_project: %', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT status INTO current_status FROM {schema}.projects WHERE id = project_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'setup_project: project % does not exist', project_id USING ERRCODE = 'no_data_found';
    ELSIF current_status = 'ready' THEN
        RAISE EXCEPTION 'setup_project: project % is ready: it has been set up', project_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE {schema}.projects AS p
    SET status = 'setup_queued', setup_error = NULL, fence = p.fence + 1,
        owner_uid = NULL, owner_namespace = NULL, owner_name = NULL
    WHERE p.id = project_id AND p.status IN ('created', 'failed');
    INSERT INTO {schema}.setup_requests AS r
        (project_id, kind, recipe, parameters, priority, max_attempts, backoff, credentials_secret)
    VALUES (project_id, 'setup', recipe, parameters, priority, max_attempts, backoff, credentials_secret)
    RETURNING r.id INTO request;
    PERFORM pg_notify('setup_requests', '');
    RETURN request;
END
$$
"""

_CANCEL = r"""
CREATE FUNCTION cancel_setup(project_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    current_status text;
BEGIN
    SELECT status INTO current_status FROM {schema}.projects WHERE id = project_id FOR NO KEY UPDATE;
    IF NOT FOUND OR current_status = 'created' THEN
        RETURN 'not_found';
    ELSIF current_status IN ('ready', 'failed') THEN
        RETURN 'already_completed';
    END IF;
    INSERT INTO {schema}.setup_requests (project_id, kind) VALUES (project_id, 'cancel');
    PERFORM pg_notify('setup_requests', '');
    RETURN 'ok';
END
$$
"""

_NOTIFY_STATUS = """
CREATE FUNCTION projects_notify_status() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('project_status', json_build_object(
        'id', NEW.id, 'name', NEW.name, 'status', NEW.status, 'at', NEW.updated_at)::text);
    RETURN NULL;
END
$$
"""

_NOTIFY_STATUS_TRIGGER = """
CREATE TRIGGER projects_notify_status AFTER UPDATE ON projects
FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION projects_notify_status()
"""

# Roles belong to the whole server: another database may have created it, and whoever migrates may lack the right to.
_ROLE = f"""
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{CLIENT_ROLE}') THEN
        CREATE ROLE {CLIENT_ROLE} NOLOGIN;
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN NULL;
END
$$
"""

_GRANT = f"""
DO $$
BEGIN
    REVOKE EXECUTE ON FUNCTION setup_project, cancel_setup FROM PUBLIC;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{CLIENT_ROLE}') THEN
        GRANT EXECUTE ON FUNCTION setup_project, cancel_setup TO {CLIENT_ROLE};
    END IF;
END
$$
"""


def upgrade() -> None:
    """Adds the table, the functions for applications with their role, and the notification."""
    op.execute(_TABLE)
    op.execute(_PENDING)
    op.execute(_BY_PROJECT)
    schema = op.get_bind().scalar(text("SELECT quote_ident(current_schema())"))
    for function in (_SETUP, _CANCEL):
        op.execute(function.format(schema=schema))
    op.execute(_NOTIFY_STATUS)
    op.execute(_NOTIFY_STATUS_TRIGGER)
    op.execute(_ROLE)
    op.execute(_GRANT)

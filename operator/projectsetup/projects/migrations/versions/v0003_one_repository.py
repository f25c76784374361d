"""One repository belongs to one project, and one name to one project, however they are spelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import op
from sqlalchemy import text

from projectsetup.projects.errors import MigrationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

revision = "0003"
down_revision = "0002"

SHOWN = 5
"""How many clashes are named; who mends those learns of the others at the next try."""

_KEY = r"""
CREATE FUNCTION project_repository_key(url text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
DECLARE
    parts text[] := regexp_match(url, '^(https|ssh)://(?:[^@/]*@)?(\[[^]]*\]|[^:/]+)(?::([0-9]{1,5}))?/(.*)$');
    place text := '';
    path text := regexp_replace(url, '^file://', '');
BEGIN
    IF parts IS NOT NULL THEN
        place := lower(parts[2]);
        path := parts[4];
        IF (parts[3]::integer <> CASE parts[1] WHEN 'https' THEN 443 ELSE 22 END) THEN
            place := place || ':' || parts[3]::integer;
        END IF;
    ELSE
        parts := regexp_match(url, '^[^@/:]+@(\[[^]]*\]|[^:/]+):(.*)$');
        IF parts IS NOT NULL THEN
            place := lower(parts[1]);
            path := parts[2];
        END IF;
    END IF;
    IF position('%' IN path) > 0 THEN
        BEGIN
            path := (
                SELECT convert_from(string_agg(
                    CASE WHEN piece[1] ~ '^%[0-9A-Fa-f]{2}$' THEN decode(substr(piece[1], 2), 'hex')
                    ELSE convert_to(piece[1], 'UTF8') END, ''::bytea ORDER BY number), 'UTF8')
                FROM regexp_matches(path, '%[0-9A-Fa-f]{2}|[^%]+|%', 'g') WITH ORDINALITY AS pieces(piece, number)
            );
        EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
            NULL;  -- not UTF-8: it stays as it is written
        END;
    END IF;
    path := btrim(regexp_replace(path, '/+', '/', 'g'), '/');
    RETURN place || '/' || rtrim(regexp_replace(path, '\.git$', ''), '/');
END
$$
"""

_TABLE = """
CREATE TABLE project_repositories (
    key text NOT NULL,
    project_id uuid NOT NULL,
    field text NOT NULL,
    CONSTRAINT project_repositories_pkey PRIMARY KEY (key),
    CONSTRAINT project_repositories_field_key UNIQUE (project_id, field),
    CONSTRAINT project_repositories_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id)
        ON UPDATE CASCADE ON DELETE CASCADE
)
"""

_USED = """
SELECT project_repository_key(code_repo) AS value, id, name, 'code_repo' AS field FROM projects
UNION ALL
SELECT project_repository_key(docs_repo), id, name, 'docs_repo' FROM projects WHERE docs_repo IS NOT NULL
"""

_FILL = f"INSERT INTO project_repositories (key, project_id, field) SELECT value, id, field FROM ({_USED}) AS used"  # noqa: S608  # no input in it

# It runs with the rights of whoever migrated, so that other software needs none to the table of repositories.
_KEEP = """
CREATE FUNCTION projects_keep_repositories() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    field text;
    url text;
    kept integer;
BEGIN
    EXECUTE format('DELETE FROM %I.project_repositories WHERE project_id = $1', TG_TABLE_SCHEMA) USING NEW.id;
    FOR field, url IN VALUES ('code_repo', NEW.code_repo), ('docs_repo', NEW.docs_repo) LOOP
        CONTINUE WHEN url IS NULL;
        EXECUTE format(
            'INSERT INTO %1$I.project_repositories (key, project_id, field)'
            ' VALUES (%1$I.project_repository_key($1), $2, $3) ON CONFLICT (key) DO NOTHING', TG_TABLE_SCHEMA
        ) USING url, NEW.id, field;
        GET DIAGNOSTICS kept = ROW_COUNT;
        IF kept = 0 THEN
            EXECUTE format(
                'SELECT count(*) FROM %1$I.project_repositories'
                ' WHERE project_id = $1 AND key = %1$I.project_repository_key($2)', TG_TABLE_SCHEMA
            ) INTO kept USING NEW.id, url;
            RAISE EXCEPTION 'the % of project % is the repository of a project already', field, NEW.id
                USING ERRCODE = 'unique_violation',
                CONSTRAINT = CASE kept WHEN 0 THEN 'projects_' || field || '_key' ELSE 'projects_repos_check' END;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$
"""

_KEEP_TRIGGER = """
CREATE TRIGGER projects_keep_repositories AFTER INSERT OR UPDATE OF code_repo, docs_repo ON projects
FOR EACH ROW EXECUTE FUNCTION projects_keep_repositories()
"""

_NO_TRIGGER_OF_OTHERS = "REVOKE EXECUTE ON FUNCTION projects_keep_repositories() FROM PUBLIC"
"""It trusts the functions in the schema of its table. Whoever may make a table elsewhere, even a temporary one,
could have it call functions of their own with the rights of whoever migrated."""

_NORMALIZE = """
CREATE FUNCTION projects_normalize_name() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    NEW.name := normalize(NEW.name, NFC);
    RETURN NEW;
END
$$
"""

_NORMALIZE_TRIGGER = """
CREATE TRIGGER projects_normalize_name BEFORE INSERT OR UPDATE ON projects
FOR EACH ROW EXECUTE FUNCTION projects_normalize_name()
"""
"""Not of the column alone: that would keep an administrator from changing its type."""


def upgrade() -> None:
    """Adds what keeps repositories and names apart. MigrationFailed, and no change, where projects clash already."""
    op.execute(_KEY)
    _refuse_clashes("repository", _USED)
    op.execute(_TABLE)
    op.execute(_FILL)
    op.execute(_KEEP)
    op.execute(_NO_TRIGGER_OF_OTHERS)
    op.execute(_KEEP_TRIGGER)
    if op.get_bind().scalar(text("SELECT getdatabaseencoding()")) == "UTF8":
        _normalize_names()


def _normalize_names() -> None:
    _refuse_clashes("name", "SELECT normalize(name, NFC) AS value, id, name, 'name' AS field FROM projects")
    op.execute("ALTER TABLE projects DISABLE TRIGGER projects_before_update")  # nobody has updated the projects
    op.execute("UPDATE projects SET name = normalize(name, NFC) WHERE name IS NOT NFC NORMALIZED")
    op.execute("ALTER TABLE projects ENABLE TRIGGER projects_before_update")
    op.execute(_NORMALIZE)
    op.execute(_NORMALIZE_TRIGGER)


def _refuse_clashes(what: str, used: str) -> None:
    user = "field || ' of project ' || id || ' ' || quote_literal(name)"
    clashes = op.get_bind().execute(
        text(
            f"SELECT value, array_agg({user} ORDER BY name, id, field) AS users FROM ({used}) AS used"  # noqa: S608  # no input in it
            " GROUP BY value HAVING count(*) > 1 ORDER BY value"
        )
    )
    found = [f"{value} is {' and '.join(users)}" for value, users in clashes]
    if found:
        raise MigrationFailed(_advice(what, found))


def _advice(what: str, found: Sequence[str]) -> str:
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    way_out = "give all but one of them another with UPDATE projects in SQL, or delete them, and migrate again"
    return f"nothing was migrated: each {what} may be used once, but {'; '.join(found[:SHOWN])}{more}; {way_out}"

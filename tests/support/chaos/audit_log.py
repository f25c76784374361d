"""Every change of the record of a fault run, with the operator that made it."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg.rows import dict_row

from tests.support.operator_sandbox import Row

_TABLES: Final = """
    CREATE TABLE audit (
        at timestamptz DEFAULT clock_timestamp(), application text DEFAULT current_setting('application_name'),
        project uuid, fence bigint, status text
    );
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO audit (project, fence, status) VALUES (NEW.id, NEW.fence, NEW.status); RETURN NEW; END'
        SET search_path = public;
    CREATE TRIGGER note AFTER UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION note();
"""


class AuditLog:
    """A trigger in the database logs each change with the application name of its connection."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        with psycopg.connect(database_url) as connection:
            connection.execute(_TABLES)

    def url_for(self, name: str) -> str:
        """Return the URL for an operator of this name."""
        return f"{self._url}?application_name={name}"

    def changes_by(self, name: str) -> int:
        """Return the number of changes that the operator of this name made."""
        with psycopg.connect(self._url) as connection:
            row = connection.execute("SELECT count(*) FROM audit WHERE application = %s", (name,)).fetchone()
        return int(row[0]) if row else 0

    def rows(self) -> dict[str, Row]:
        """Return the current record of each project."""
        with psycopg.connect(self._url, row_factory=dict_row) as connection:
            return {str(row["id"]): row for row in connection.execute("SELECT * FROM projects")}

"""What the database has of the logs of attempts."""

from __future__ import annotations

import psycopg

_LATEST = """
SELECT step, text FROM setup_log_rows
WHERE run_name = (SELECT run_name FROM setup_logs WHERE project_id = %s ORDER BY started_at DESC LIMIT 1)
ORDER BY number
"""


def stored_log(database_url: str, project_id: str) -> list[tuple[str, str]]:
    """Step and text of each row of the latest log of a project."""
    with psycopg.connect(database_url) as connection:
        return [(str(step), str(text)) for step, text in connection.execute(_LATEST, (project_id,))]

"""The namespace that a project belongs to: only ProjectSetups of that namespace may claim it."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column; a project that a ProjectSetup owns belongs to its namespace, all others to nobody yet."""
    op.execute("ALTER TABLE projects ADD COLUMN namespace text")
    op.execute("ALTER TABLE projects DISABLE TRIGGER projects_before_update")  # nobody has updated the projects
    op.execute("UPDATE projects SET namespace = owner_namespace WHERE owner_namespace IS NOT NULL")
    op.execute("ALTER TABLE projects ENABLE TRIGGER projects_before_update")
    op.execute(
        "ALTER TABLE projects ADD CONSTRAINT projects_namespace_check"
        " CHECK (namespace ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')"
    )

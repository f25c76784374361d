"""What Alembic runs: the versions, on the connection and within the transaction it is given."""

from alembic import context

from projectsetup.projects.table import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=context.config.attributes["version_table"],
    on_version_apply=context.config.attributes["on_version_apply"],
)
with context.begin_transaction():
    context.run_migrations()

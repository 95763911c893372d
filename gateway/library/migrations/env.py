"""How alembic reaches the database: over the connection, and within the transaction, it is given.

`gateway.library.database` runs it; the `alembic` command is not used.
"""

from __future__ import annotations

from alembic import context

from gateway.library.schema import metadata

# Everything or nothing: SQLite changes its schema within a transaction as PostgreSQL does.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

"""Alembic's entry point: runs the migrations on the connection that database.py gives."""

from __future__ import annotations

from alembic import context

from minisora.studio.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()

"""Runs migrations on the connection that `wgfleet.panel.store.schema` hands over; that module owns the transaction."""

from alembic import context

from wgfleet.panel.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

"""limits and owners."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision: str | None = "0032"

_OWNED = sa.text("owner_id IS NOT NULL")


def upgrade() -> None:
    for table in ("api_keys", "users"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(sa.Column("limit_configs", sa.JSON(), nullable=True))
            batch_op.add_column(sa.Column("limit_groups", sa.JSON(), nullable=True))
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.add_column(sa.Column("device_limit", sa.Integer(), nullable=True))
    with op.batch_alter_table("peers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("owner_id", sa.String(), nullable=True))
    op.create_index("ix_peers_owner_id_id", "peers", ["owner_id", "id"], sqlite_where=_OWNED, postgresql_where=_OWNED)

"""Addresses of nodes other than the first of a pool."""

import sqlalchemy as sa
from alembic import op

revision = "0078"
down_revision: str | None = "0077"


def upgrade() -> None:
    with op.batch_alter_table("pools", schema=None) as batch_op:
        batch_op.add_column(sa.Column("server_address", sa.String(), nullable=True))

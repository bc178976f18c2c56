"""owed changes."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision: str | None = "0009"


def upgrade() -> None:
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("behind_since", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("behind_generation", sa.BigInteger(), nullable=True))

    with op.batch_alter_table("peer_tombstones", schema=None) as batch_op:
        batch_op.add_column(sa.Column("name", sa.String(), nullable=True))

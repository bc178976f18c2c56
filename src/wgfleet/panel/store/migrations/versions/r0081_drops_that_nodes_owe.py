"""The generation from which a node that did not answer is to have dropped a peer that another took over."""

import sqlalchemy as sa
from alembic import op

revision = "0081"
down_revision: str | None = "0080"

_OWED = sa.text("drop_generation IS NOT NULL")


def upgrade() -> None:
    op.add_column("moves", sa.Column("drop_generation", sa.BigInteger(), nullable=True))
    op.create_index("ix_moves_owed", "moves", ["from_node_id"], sqlite_where=_OWED, postgresql_where=_OWED)

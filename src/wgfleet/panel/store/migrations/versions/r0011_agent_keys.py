"""digests of agents' keys."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision: str | None = "0010"


def upgrade() -> None:
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("agent_keys", sa.JSON(), server_default="[]", nullable=False))
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.alter_column("agent_keys", server_default=None)

"""features of agents."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision: str | None = "0015"


def upgrade() -> None:
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("agent_features", sa.JSON(), server_default="[]", nullable=False))
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.alter_column("agent_features", server_default=None)

"""departed nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision: str | None = "0013"


def upgrade() -> None:
    op.create_table(
        "departed_nodes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("agent_host", sa.String(), nullable=False),
        sa.Column("agent_port", sa.Integer(), nullable=False),
        sa.Column("deleted_at", sa.Double(), nullable=False),
        sa.Column("agent_keys", sa.JSON(), nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_departed_nodes")),
    )
    with op.batch_alter_table("departed_nodes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_departed_nodes_deleted_at"), ["deleted_at"], unique=False)

    with op.batch_alter_table("incarnations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("refused", sa.String(), nullable=True))

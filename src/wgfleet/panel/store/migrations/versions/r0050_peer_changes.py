"""peers that operations have yet to change."""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision: str | None = "0049"


def upgrade() -> None:
    op.create_table(
        "peer_changes",
        sa.Column("operation_id", sa.String(), nullable=False),
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operations.id"],
            name=op.f("fk_peer_changes_operation_id_operations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["peer_id"], ["peers.id"], name=op.f("fk_peer_changes_peer_id_peers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("operation_id", "peer_id", name=op.f("pk_peer_changes")),
    )
    op.create_index(op.f("ix_peer_changes_peer_id"), "peer_changes", ["peer_id"], unique=False)

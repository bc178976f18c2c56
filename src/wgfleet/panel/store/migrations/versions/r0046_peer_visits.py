"""peer visits."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision: str | None = "0045"


def upgrade() -> None:
    op.create_table(
        "peer_visits",
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_peer_visits_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["peer_id"], ["peers.id"], name=op.f("fk_peer_visits_peer_id_peers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("peer_id", "node_id", "began_at", name=op.f("pk_peer_visits")),
    )
    op.create_index(op.f("ix_peer_visits_last_at"), "peer_visits", ["last_at"])
    op.create_index(op.f("ix_peer_visits_node_id"), "peer_visits", ["node_id"])

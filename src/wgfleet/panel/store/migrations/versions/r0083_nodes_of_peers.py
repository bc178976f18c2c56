"""The nodes that a peer of an independent config may use."""

import sqlalchemy as sa
from alembic import op

revision = "0083"
down_revision: str | None = "0082"


def upgrade() -> None:
    op.create_table(
        "peer_nodes",
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.Column("places", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["peer_id"], ["peers.id"], name=op.f("fk_peer_nodes_peer_id_peers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("peer_id", name=op.f("pk_peer_nodes")),
    )

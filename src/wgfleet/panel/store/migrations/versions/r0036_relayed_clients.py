"""relayed clients."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision: str | None = "0040"


def upgrade() -> None:
    op.create_table(
        "relayed_clients",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("ends_at", sa.Double(), nullable=False),
        sa.Column("wanted_ends_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_relayed_clients_config_id_configs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_relayed_clients_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["peer_id"], ["peers.id"], name=op.f("fk_relayed_clients_peer_id_peers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relayed_clients")),
        sa.UniqueConstraint("node_id", "peer_id", name=op.f("uq_relayed_clients_node_id_peer_id")),
    )
    op.create_index(op.f("ix_relayed_clients_config_id"), "relayed_clients", ["config_id"])
    op.create_index(op.f("ix_relayed_clients_peer_id"), "relayed_clients", ["peer_id"])

"""traffic of nodes, for metrics."""

import sqlalchemy as sa
from alembic import op

revision = "0066b"
down_revision: str | None = "0066"


def upgrade() -> None:
    op.create_table(
        "node_traffic",
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_node_traffic_config_id_configs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_node_traffic_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("config_id", "node_id", name=op.f("pk_node_traffic")),
    )
    op.create_index(op.f("ix_node_traffic_node_id"), "node_traffic", ["node_id"])

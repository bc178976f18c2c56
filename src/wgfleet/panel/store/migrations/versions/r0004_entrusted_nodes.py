"""nodes that were given the keys of a config."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"


def upgrade() -> None:
    op.create_table(
        "entrusted_nodes",
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_entrusted_nodes_config_id_configs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_entrusted_nodes_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("config_id", "node_id", name=op.f("pk_entrusted_nodes")),
    )
    op.create_index("ix_entrusted_nodes_node_id", "entrusted_nodes", ["node_id"])
    # Who carries a config has its keys.
    op.execute("INSERT INTO entrusted_nodes (config_id, node_id) SELECT config_id, node_id FROM assignments")

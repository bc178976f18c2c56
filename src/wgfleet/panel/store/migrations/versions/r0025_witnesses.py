"""witnesses."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision: str | None = "0024"


def upgrade() -> None:
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("witness", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "witness_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("probe_private_key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("probe_public_key", sa.String(), nullable=False),
        sa.Column("next_probe_private_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("next_probe_public_key", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_witness_keys_config_id_configs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_witness_keys_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_witness_keys")),
        sa.UniqueConstraint("config_id", "node_id", name=op.f("uq_witness_keys_config_id_node_id")),
    )
    op.create_index("ix_witness_keys_config_id", "witness_keys", ["config_id"])
    op.create_index("ix_witness_keys_node_id", "witness_keys", ["node_id"])

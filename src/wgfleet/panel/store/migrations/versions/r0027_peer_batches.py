"""batches of peers that are being made."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision: str | None = "0026"


def upgrade() -> None:
    op.create_table(
        "peer_batches",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("peer_ids", sa.JSON(), nullable=False),
        sa.Column("name_prefix", sa.String(), nullable=True),
        sa.Column("last_number", sa.BigInteger(), nullable=True),
        sa.Column("touched_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_peer_batches_config_id_configs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peer_batches")),
    )
    with op.batch_alter_table("peer_batches", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_peer_batches_config_id"), ["config_id"], unique=False)

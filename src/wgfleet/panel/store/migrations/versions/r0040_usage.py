"""usage."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision: str | None = "0034"


def upgrade() -> None:
    op.create_table(
        "former_keys",
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.Column("peer_name", sa.String(), nullable=False),
        sa.Column("config_name", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("config_id", "public_key", name=op.f("pk_former_keys")),
    )
    op.create_index(op.f("ix_former_keys_at"), "former_keys", ["at"], unique=False)
    op.create_index(op.f("ix_former_keys_peer_id"), "former_keys", ["peer_id"], unique=False)
    op.create_table(
        "usage_counters",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.Column("life", sa.BigInteger(), nullable=False),
        sa.Column("claimed_received", sa.BigInteger(), nullable=False),
        sa.Column("claimed_sent", sa.BigInteger(), nullable=False),
        sa.Column("former", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_counters")),
    )
    op.create_index(
        "ix_usage_counters_node_id_config_id_public_key", "usage_counters", ["node_id", "config_id", "public_key"]
    )
    op.create_index(op.f("ix_usage_counters_peer_id"), "usage_counters", ["peer_id"], unique=False)
    for table, column in (("usage_hours", "hour"), ("usage_days", "day")):
        op.create_table(
            table,
            sa.Column("counter_id", sa.Integer(), nullable=False),
            sa.Column(column, sa.Integer(), nullable=False),
            sa.Column("received", sa.BigInteger(), nullable=False),
            sa.Column("sent", sa.BigInteger(), nullable=False),
            sa.ForeignKeyConstraint(
                ["counter_id"],
                ["usage_counters.id"],
                name=op.f(f"fk_{table}_counter_id_usage_counters"),
                ondelete="CASCADE",
            ),
            sa.PrimaryKeyConstraint("counter_id", column, name=op.f(f"pk_{table}")),
            sqlite_with_rowid=False,
        )
        op.create_index(f"ix_{table}_{column}", table, [column], unique=False)
    op.create_table(
        "usage_sources",
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("epoch", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("refused_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_usage_sources")),
    )
    op.create_index(op.f("ix_usage_sources_at"), "usage_sources", ["at"], unique=False)
    op.create_table(
        "usage_totals",
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("peer_id", name=op.f("pk_usage_totals")),
    )
    op.create_index("ix_usage_totals_config_id_bytes", "usage_totals", ["config_id", "bytes", "peer_id"], unique=False)

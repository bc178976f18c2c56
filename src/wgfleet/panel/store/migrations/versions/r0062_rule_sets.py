"""sets of destination rules."""

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision: str | None = "0064"

_NAMED = sa.text("rule_set != ''")


def upgrade() -> None:
    op.create_table(
        "rule_sets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("otherwise_allowed", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule_sets")),
        sa.UniqueConstraint("name", name=op.f("uq_rule_sets_name")),
    )
    for table in ("peers", "tags", "configs"):
        op.add_column(table, sa.Column("rule_set", sa.String(), nullable=True))
    op.create_index(
        "ix_peers_rule_set", "peers", ["rule_set", "config_id"], sqlite_where=_NAMED, postgresql_where=_NAMED
    )

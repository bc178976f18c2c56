"""peer jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision: str | None = "0047"

_OWNERS = ("config", "tag", "peer")


def upgrade() -> None:
    op.create_table(
        "peer_jobs",
        sa.Column("id", sa.String(), nullable=False),
        *(sa.Column(f"{owner}_id", sa.String(), nullable=True) for owner in _OWNERS),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=True),
        sa.Column("from_first_use", sa.Boolean(), nullable=False),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("windows", sa.JSON(), nullable=False),
        sa.Column("notice_s", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [f"{owner}_id"],
                [f"{owner}s.id"],
                name=op.f(f"fk_peer_jobs_{owner}_id_{owner}s"),
                ondelete="CASCADE",
            )
            for owner in _OWNERS
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peer_jobs")),
    )
    for owner in _OWNERS:
        op.create_index(op.f(f"ix_peer_jobs_{owner}_id"), "peer_jobs", [f"{owner}_id"])
    op.create_table(
        "peer_allowances",
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.Column("base_received", sa.BigInteger(), nullable=False),
        sa.Column("base_sent", sa.BigInteger(), nullable=False),
        sa.Column("reset_at", sa.Double(), nullable=True),
        sa.Column("noticed", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["peer_id"], ["peers.id"], name=op.f("fk_peer_allowances_peer_id_peers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("peer_id", name=op.f("pk_peer_allowances")),
    )
    # One by one: a batch would copy the table, whose triggers would be gone.
    op.add_column("peers", sa.Column("restricted_at", sa.Double(), nullable=True))
    op.add_column("peers", sa.Column("restricted_because", sa.String(), nullable=True))
    restricted = sa.text("restricted_at IS NOT NULL")
    op.create_index("ix_peers_restricted", "peers", ["id"], sqlite_where=restricted, postgresql_where=restricted)

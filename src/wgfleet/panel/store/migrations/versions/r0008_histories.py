"""histories."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"


def upgrade() -> None:
    op.create_table(
        "incarnations",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_incarnations")),
    )
    op.create_table(
        "config_histories",
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("from_generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("incarnation_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_config_histories_config_id_configs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("config_id", "from_generation", name=op.f("pk_config_histories")),
    )

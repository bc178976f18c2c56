"""certificates that browsers accept."""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision: str | None = "0050"


def upgrade() -> None:
    op.create_table(
        "web_certificates",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("directory", sa.String(), nullable=False),
        sa.Column("account_key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("chain", sa.String(), nullable=True),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("obtained_at", sa.Double(), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_certificates")),
    )
    op.create_table(
        "acme_answers",
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_acme_answers")),
    )

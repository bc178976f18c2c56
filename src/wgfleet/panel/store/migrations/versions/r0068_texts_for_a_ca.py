"""TXT records that a CA is shown, until they are removed."""

import sqlalchemy as sa
from alembic import op

revision = "0068"
down_revision: str | None = "0067"


def upgrade() -> None:
    op.create_table(
        "acme_texts",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", "text", name=op.f("pk_acme_texts")),
    )

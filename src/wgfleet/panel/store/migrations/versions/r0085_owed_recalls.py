"""Calls to clients that are owed outlive the process that is to make them."""

import sqlalchemy as sa
from alembic import op

revision = "0085"
down_revision: str | None = "0084"


def upgrade() -> None:
    op.create_table(
        "owed_recalls",
        sa.Column("subject_id", sa.String(), primary_key=True),
        sa.Column("since", sa.Double(), nullable=False),
    )

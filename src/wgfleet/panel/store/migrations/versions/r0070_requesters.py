"""whose credential began an operation."""

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision: str | None = "0068"


def upgrade() -> None:
    op.add_column("operations", sa.Column("requester", sa.String(), nullable=True))

"""silent addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision: str | None = "0028"


def upgrade() -> None:
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("silent_addresses", sa.JSON(), server_default="[]", nullable=False))
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.alter_column("silent_addresses", server_default=None)

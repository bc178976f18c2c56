"""forwarding."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision: str | None = "0043"


def upgrade() -> None:
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("forwarding", sa.JSON(), server_default="[]", nullable=False))
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.alter_column("forwarding", server_default=None)

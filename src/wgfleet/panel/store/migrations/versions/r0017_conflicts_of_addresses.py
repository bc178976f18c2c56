"""who has floating addresses, as agents say: two of them, or another machine beside the holder."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision: str | None = "0016"


def upgrade() -> None:
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("floating_held", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("floating_rivals", sa.JSON(), server_default="{}", nullable=False))
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.alter_column("floating_held", server_default=None)
        batch_op.alter_column("floating_rivals", server_default=None)

"""paused configs."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision: str | None = "0011"


def upgrade() -> None:
    with op.batch_alter_table("configs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("paused_since", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("paused_by", sa.String(), nullable=True))

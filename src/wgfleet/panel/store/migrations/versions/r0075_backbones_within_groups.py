"""backbones within node groups."""

import sqlalchemy as sa
from alembic import op

revision = "0075"
down_revision: str | None = "0074"


def upgrade() -> None:
    with op.batch_alter_table("configs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("backbone_within_groups", sa.Boolean(), server_default=sa.false(), nullable=False)
        )

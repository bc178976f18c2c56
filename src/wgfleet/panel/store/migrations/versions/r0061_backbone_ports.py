"""backbone ports."""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision: str | None = "0051"


def upgrade() -> None:
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("public_backbone_port", sa.Integer(), nullable=True))

"""public ports."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision: str | None = "0035"


def upgrade() -> None:
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("public_port", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("next_public_port", sa.Integer(), nullable=True))

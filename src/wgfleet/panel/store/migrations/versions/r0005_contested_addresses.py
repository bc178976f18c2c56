"""contested addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"


def upgrade() -> None:
    with op.batch_alter_table("floating_addresses", schema=None) as batch_op:
        batch_op.add_column(sa.Column("contested", sa.Boolean(), server_default=sa.false(), nullable=False))

"""How many nodes a witness misses that others reach."""

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision: str | None = "0079"


def upgrade() -> None:
    with op.batch_alter_table("witness_keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("unreached", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("witness_keys", schema=None) as batch_op:
        batch_op.alter_column("unreached", server_default=None)

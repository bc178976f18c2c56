"""next endpoint addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision: str | None = "0030"


def upgrade() -> None:
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("next_endpoint_addresses", sa.JSON(), server_default="[]", nullable=False))
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.alter_column("next_endpoint_addresses", server_default=None)

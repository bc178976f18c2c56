"""names of nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision: str | None = "0044"


def upgrade() -> None:
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("endpoint_name", sa.String(), nullable=True))

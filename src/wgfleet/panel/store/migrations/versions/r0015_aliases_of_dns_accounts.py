"""aliases of DNS accounts: a start of the panel, which has the master key, names those that are there."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision: str | None = "0014"


def upgrade() -> None:
    with op.batch_alter_table("dns_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("key_id", sa.String(), nullable=True))

"""Since when the former holder of a floating address had had it."""

import sqlalchemy as sa
from alembic import op

revision = "0082"
down_revision: str | None = "0081"


def upgrade() -> None:
    op.add_column("floating_addresses", sa.Column("former_since", sa.Double(), nullable=True))

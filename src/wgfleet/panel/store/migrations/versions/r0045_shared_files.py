"""shared files."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision: str | None = "0048"


def upgrade() -> None:
    op.add_column("peer_allowances", sa.Column("devices", sa.Integer(), nullable=True))
    op.add_column("peer_allowances", sa.Column("shared_at", sa.Double(), nullable=True))

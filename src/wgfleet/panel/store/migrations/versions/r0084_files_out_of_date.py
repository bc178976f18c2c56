"""When the file of a peer was taken, and whether it is out of date."""

import sqlalchemy as sa
from alembic import op

revision = "0084"
down_revision: str | None = "0083"

_OLD = sa.text("old_file IS NOT NULL")


def upgrade() -> None:
    op.add_column("peers", sa.Column("file_taken_at", sa.Double(), nullable=True))
    op.add_column("peers", sa.Column("old_file", sa.Integer(), nullable=True))
    columns = ["config_id", "old_file", "id"]
    op.create_index("ix_peers_with_old_files", "peers", columns, sqlite_where=_OLD, postgresql_where=_OLD)

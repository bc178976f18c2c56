"""what is made for a batch of peers beside them; changes of peers by lines of a table."""

import sqlalchemy as sa
from alembic import op

revision = "0067"
down_revision: str | None = "0066b"


def upgrade() -> None:
    op.add_column(
        "peer_batches", sa.Column("made_config", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("peer_batches", sa.Column("tag_ids", sa.JSON(), nullable=True))
    op.add_column("peer_changes", sa.Column("line", sa.Integer(), nullable=True))
    op.add_column("peer_changes", sa.Column("changes", sa.JSON(), nullable=True))

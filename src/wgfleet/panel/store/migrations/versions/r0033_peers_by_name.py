"""peers by name."""

from alembic import op

revision = "0033"
down_revision: str | None = "0036"


def upgrade() -> None:
    op.create_index("ix_peers_name_folded_id", "peers", ["name_folded", "id"])

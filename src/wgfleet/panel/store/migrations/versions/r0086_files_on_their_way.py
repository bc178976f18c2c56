"""In which sending of many files that of a peer is on its way."""

import sqlalchemy as sa
from alembic import op

revision = "0086"
down_revision: str | None = "0085"


def upgrade() -> None:
    op.add_column("peers", sa.Column("file_on_way", sa.String(), nullable=True))

"""speeds of peers, tags and configs."""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision: str | None = "0061"


def upgrade() -> None:
    for table in ("peers", "tags", "configs"):
        for column in ("download_speed", "upload_speed"):
            op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=True))

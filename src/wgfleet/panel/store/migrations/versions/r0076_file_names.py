"""templates of file names."""

import sqlalchemy as sa
from alembic import op

revision = "0076"
down_revision: str | None = "0075"


def upgrade() -> None:
    with op.batch_alter_table("configs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("file_names", sa.String(), nullable=True))

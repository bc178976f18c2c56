"""passwords that links to files may ask for, as argon2id."""

import sqlalchemy as sa
from alembic import op

revision = "0064"
down_revision: str | None = "0065"


def upgrade() -> None:
    op.add_column("share_links", sa.Column("password_hash", sa.String(), nullable=True))

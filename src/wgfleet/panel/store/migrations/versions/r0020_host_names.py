"""host names."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision: str | None = "0019"


def upgrade() -> None:
    op.create_table(
        "host_names",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.Column("found_at", sa.Double(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("inside", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_host_names")),
    )

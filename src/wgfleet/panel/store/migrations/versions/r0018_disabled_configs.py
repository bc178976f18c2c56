"""disabled configs."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision: str | None = "0017"


def upgrade() -> None:
    with op.batch_alter_table("configs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("disabled_generation", sa.BigInteger(), server_default="0", nullable=False))
    # When exactly it was is not known: not after the last change of the settings.
    op.execute("UPDATE configs SET disabled_generation = settings_generation WHERE NOT enabled")

"""backbones."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision: str | None = "0025"


def upgrade() -> None:
    with op.batch_alter_table("configs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("client_to_client", sa.Boolean(), server_default=sa.true(), nullable=False))
        batch_op.add_column(sa.Column("backbone", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("backbone_port", sa.Integer(), nullable=True))
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("number", sa.Integer(), server_default="0", nullable=False))
    op.execute("UPDATE assignments SET number = (SELECT count(*) FROM assignments AS o WHERE o.id <= assignments.id)")

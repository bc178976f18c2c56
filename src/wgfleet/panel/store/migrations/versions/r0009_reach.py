"""what users reach through a node."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0008"


def upgrade() -> None:
    names = ("node_ports", "denied_networks", "reachable_configs")
    with op.batch_alter_table("configs", schema=None) as batch_op:
        for name in names:
            batch_op.add_column(sa.Column(name, sa.JSON(), server_default="[]", nullable=False))
    with op.batch_alter_table("configs", schema=None) as batch_op:
        for name in names:
            batch_op.alter_column(name, server_default=None)
    # Each node gets the filter, which is part of the interface from now on.
    op.execute("UPDATE configs SET generation = generation + 1, settings_generation = generation + 1")

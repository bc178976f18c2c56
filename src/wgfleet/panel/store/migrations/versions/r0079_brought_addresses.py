"""where a provider has yet to bring a floating address from."""

import sqlalchemy as sa
from alembic import op

revision = "0079"
down_revision: str | None = "0078"


def upgrade() -> None:
    with op.batch_alter_table("floating_addresses", schema=None) as batch_op:
        batch_op.add_column(sa.Column("still_at_node_id", sa.String(), nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_floating_addresses_still_at_node_id_nodes"),
            "nodes",
            ["still_at_node_id"],
            ["id"],
            ondelete="SET NULL",
        )

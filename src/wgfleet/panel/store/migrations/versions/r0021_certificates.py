"""issued certificates."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision: str | None = "0020"


def upgrade() -> None:
    table = op.create_table(
        "certificates",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("serial", sa.String(), nullable=True),
        sa.Column("key_digest", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=True),
        sa.Column("node_name", sa.String(), nullable=True),
        sa.Column("panel_start", sa.BigInteger(), nullable=True),
        sa.Column("issued_by", sa.String(), nullable=False),
        sa.Column("issued_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("revoked_by", sa.String(), nullable=True),
        sa.Column("revocation", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        sa.UniqueConstraint("revocation", name=op.f("uq_certificates_revocation")),
        sa.UniqueConstraint("serial", name=op.f("uq_certificates_serial")),
    )
    with op.batch_alter_table("certificates", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_certificates_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_certificates_key_digest"), ["key_digest"], unique=False)
        batch_op.create_index(batch_op.f("ix_certificates_node_id"), ["node_id"], unique=False)

    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("revocations", sa.BigInteger(), nullable=True))

    _list_those_of_nodes(table)


def _list_those_of_nodes(table: sa.Table) -> None:
    """Make rows for the certificates of agents, as far as their keys are known; when they were issued is not."""
    nodes = sa.table(
        "nodes",
        sa.column("id", sa.String()),
        sa.column("name", sa.String()),
        sa.column("certificate_expires_at", sa.Double()),
        sa.column("agent_keys", sa.JSON()),
        sa.column("created_at", sa.Double()),
    )
    rows = [
        {
            "id": node.id,  # sorts by time as well
            "kind": "agent",
            "key_digest": node.agent_keys[-1],
            "node_id": node.id,
            "node_name": node.name,
            "issued_by": "panel",
            "issued_at": node.created_at,
            "expires_at": node.certificate_expires_at,
        }
        for node in op.get_bind().execute(sa.select(nodes))
        if node.agent_keys and node.certificate_expires_at is not None
    ]
    if rows:
        op.bulk_insert(table, rows)

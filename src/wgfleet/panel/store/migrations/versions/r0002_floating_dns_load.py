"""Floating addresses, published names, load of nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    op.create_table(
        "dns_accounts",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("blocked_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_dns_accounts")),
    )
    op.create_table(
        "dns_syncs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("options_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("error_class", sa.String(), nullable=True),
        sa.Column("next_try_at", sa.Double(), nullable=True),
        sa.Column("plan_id", sa.String(), nullable=True),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("approved_plan_id", sa.String(), nullable=True),
        sa.Column("published", sa.JSON(), nullable=False),
        sa.Column("decided_at", sa.Double(), nullable=False),
        sa.Column("checked_at", sa.Double(), nullable=True),
        sa.Column("published_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dns_syncs")),
        sa.UniqueConstraint(
            "config_id", "provider", "zone", "name", name=op.f("uq_dns_syncs_config_id_provider_zone_name")
        ),
    )
    with op.batch_alter_table("dns_syncs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_dns_syncs_config_id"), ["config_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_dns_syncs_next_try_at"), ["next_try_at"], unique=False)

    op.create_table(
        "floating_addresses",
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("holder_node_id", sa.String(), nullable=True),
        sa.Column("leaving_node_id", sa.String(), nullable=True),
        sa.Column("former_node_id", sa.String(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_floating_addresses_config_id_configs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["holder_node_id"],
            ["nodes.id"],
            name=op.f("fk_floating_addresses_holder_node_id_nodes"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["leaving_node_id"],
            ["nodes.id"],
            name=op.f("fk_floating_addresses_leaving_node_id_nodes"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["former_node_id"],
            ["nodes.id"],
            name=op.f("fk_floating_addresses_former_node_id_nodes"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_floating_addresses")),
    )
    with op.batch_alter_table("floating_addresses", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_floating_addresses_config_id"), ["config_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_floating_addresses_holder_node_id"), ["holder_node_id"], unique=False)

    op.create_table(
        "node_loads",
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("cpu", sa.Double(), nullable=False),
        sa.Column("memory", sa.Double(), nullable=False),
        sa.Column("bandwidth", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_node_loads_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_node_loads")),
    )
    with op.batch_alter_table("configs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("placement", sa.String(), nullable=False, server_default="least_peers"))

    with op.batch_alter_table("endpoint_groups", schema=None) as batch_op:
        batch_op.alter_column("cloudflare_zone_id", new_column_name="dns_zone")
        batch_op.alter_column("cloudflare_record_name", new_column_name="dns_record_name")
        batch_op.add_column(sa.Column("dns_provider", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("dns_mode", sa.String(), nullable=False, server_default="sync"))
        batch_op.add_column(sa.Column("dns_drift", sa.String(), nullable=False, server_default="repair"))
        batch_op.add_column(sa.Column("dns_options_sealed", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("address_provider", sa.String(), nullable=False, server_default="none"))
        batch_op.add_column(sa.Column("address_options_sealed", sa.LargeBinary(), nullable=True))
    op.execute("UPDATE endpoint_groups SET dns_provider = 'cloudflare' WHERE dns_zone IS NOT NULL")

    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("bandwidth_mbps", sa.Integer(), nullable=True))

    with op.batch_alter_table("peer_sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("called_from", sa.String(), nullable=True))

"""initial."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("last_used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sa.UniqueConstraint("name", name=op.f("uq_api_keys_name")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("entity_type", sa.String(), nullable=False),
        sa.Column("entity_id", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_log_action"), ["action"], unique=False)
        batch_op.create_index("ix_audit_log_entity_type_entity_id", ["entity_type", "entity_id"], unique=False)

    op.create_table(
        "authority",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("panel_id", sa.String(), nullable=False),
        sa.Column("certificate", sa.String(), nullable=False),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authority")),
    )
    op.create_table(
        "backups",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("config_name", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("node_name", sa.String(), nullable=False),
        sa.Column("operation_id", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("peers", sa.Integer(), nullable=False),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backups")),
        sa.UniqueConstraint("operation_id", name=op.f("uq_backups_operation_id")),
    )
    with op.batch_alter_table("backups", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_backups_config_id"), ["config_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_backups_node_id"), ["node_id"], unique=False)

    op.create_table(
        "configs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("listen_port", sa.Integer(), nullable=False),
        sa.Column("mtu", sa.Integer(), nullable=True),
        sa.Column("dns", sa.JSON(), nullable=False),
        sa.Column("client_allowed_ips", sa.JSON(), nullable=False),
        sa.Column("keepalive", sa.Integer(), nullable=False),
        sa.Column("masquerade", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("private_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("public_key", sa.String(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("settings_generation", sa.BigInteger(), nullable=False),
        sa.Column("oldest_base", sa.BigInteger(), nullable=False),
        sa.Column("probe_private_key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("probe_public_key", sa.String(), nullable=False),
        sa.Column("probes_generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_configs")),
        sa.UniqueConstraint("name", name=op.f("uq_configs_name")),
    )
    op.create_table(
        "health_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_health_events")),
    )
    with op.batch_alter_table("health_events", schema=None) as batch_op:
        batch_op.create_index("ix_health_events_config_id_node_id", ["config_id", "node_id"], unique=False)

    op.create_table(
        "node_groups",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_node_groups_name")),
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=True),
        sa.Column("node_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
    )
    with op.batch_alter_table("operations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_operations_subject"), ["subject"], unique=False)
        batch_op.create_index(
            "uq_operations_active",
            ["kind", "subject"],
            unique=True,
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        )

    op.create_table(
        "endpoint_groups",
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("ttl", sa.Integer(), nullable=False),
        sa.Column("auto_migrate", sa.Boolean(), nullable=False),
        sa.Column("publish_only_healthy", sa.Boolean(), nullable=False),
        sa.Column("min_nodes", sa.Integer(), nullable=False),
        sa.Column("cloudflare_zone_id", sa.String(), nullable=True),
        sa.Column("cloudflare_record_name", sa.String(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_endpoint_groups_config_id_configs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("config_id", name=op.f("pk_endpoint_groups")),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=True),
        sa.Column("endpoint_addresses", sa.JSON(), nullable=False),
        sa.Column("agent_host", sa.String(), nullable=False),
        sa.Column("agent_port", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("cordoned", sa.Boolean(), nullable=False),
        sa.Column("is_panel_node", sa.Boolean(), nullable=False),
        sa.Column("certificate_expires_at", sa.Double(), nullable=True),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("last_seen_at", sa.Double(), nullable=True),
        sa.Column("agent_version", sa.String(), nullable=True),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["node_groups.id"], name=op.f("fk_nodes_group_id_node_groups")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("name", name=op.f("uq_nodes_name")),
    )
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_nodes_group_id"), ["group_id"], unique=False)

    op.create_table(
        "peer_tombstones",
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_peer_tombstones_config_id_configs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("config_id", "public_key", name=op.f("pk_peer_tombstones")),
    )
    with op.batch_alter_table("peer_tombstones", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_peer_tombstones_generation"), ["generation"], unique=False)

    op.create_table(
        "assignments",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("private_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("public_key", sa.String(), nullable=True),
        sa.Column("applied_generation", sa.BigInteger(), nullable=False),
        sa.Column("applied_at", sa.Double(), nullable=True),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("drift", sa.JSON(), nullable=False),
        sa.Column("health", sa.String(), nullable=False),
        sa.Column("health_since", sa.Double(), nullable=False),
        sa.Column("health_reason", sa.String(), nullable=False),
        sa.Column("flaps", sa.JSON(), nullable=False),
        sa.Column("probe_private_key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("probe_public_key", sa.String(), nullable=False),
        sa.Column("oldest_base", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["config_id"], ["configs.id"], name=op.f("fk_assignments_config_id_configs")),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_assignments_node_id_nodes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
        sa.UniqueConstraint("config_id", "node_id", name=op.f("uq_assignments_config_id_node_id")),
    )
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_assignments_config_id"), ["config_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_assignments_node_id"), ["node_id"], unique=False)

    op.create_table(
        "cleanups",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("interface", sa.String(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_cleanups_node_id_nodes"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cleanups")),
        sa.UniqueConstraint("node_id", "config_id", name=op.f("uq_cleanups_node_id_config_id")),
    )
    with op.batch_alter_table("cleanups", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_cleanups_node_id"), ["node_id"], unique=False)

    op.create_table(
        "join_tokens",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_join_tokens_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_join_tokens")),
    )
    with op.batch_alter_table("join_tokens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_join_tokens_node_id"), ["node_id"], unique=False)

    op.create_table(
        "peers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("private_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("preshared_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("networks", sa.JSON(), nullable=False),
        sa.Column("keepalive", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("home_node_id", sa.String(), nullable=True),
        sa.Column("group_id", sa.String(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["config_id"], ["configs.id"], name=op.f("fk_peers_config_id_configs")),
        sa.ForeignKeyConstraint(["group_id"], ["node_groups.id"], name=op.f("fk_peers_group_id_node_groups")),
        sa.ForeignKeyConstraint(["home_node_id"], ["nodes.id"], name=op.f("fk_peers_home_node_id_nodes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peers")),
        sa.UniqueConstraint("config_id", "name", name=op.f("uq_peers_config_id_name")),
        sa.UniqueConstraint("config_id", "public_key", name=op.f("uq_peers_config_id_public_key")),
    )
    with op.batch_alter_table("peers", schema=None) as batch_op:
        batch_op.create_index("ix_peers_config_id_generation", ["config_id", "generation"], unique=False)
        batch_op.create_index("ix_peers_home_node_id_config_id", ["home_node_id", "config_id"], unique=False)

    op.create_table(
        "moves",
        sa.Column("operation_id", sa.String(), nullable=False),
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.Column("from_node_id", sa.String(), nullable=False),
        sa.Column("to_node_id", sa.String(), nullable=True),
        sa.Column("endpoint", sa.String(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("rehomed", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name=op.f("fk_moves_operation_id_operations"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["peer_id"], ["peers.id"], name=op.f("fk_moves_peer_id_peers"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("operation_id", "peer_id", name=op.f("pk_moves")),
    )
    with op.batch_alter_table("moves", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_moves_from_node_id"), ["from_node_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_moves_peer_id"), ["peer_id"], unique=False)

    op.create_table(
        "peer_sessions",
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=True),
        sa.Column("latest_handshake", sa.BigInteger(), nullable=False),
        sa.Column("rx", sa.BigInteger(), nullable=False),
        sa.Column("tx", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_peer_sessions_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["peer_id"], ["peers.id"], name=op.f("fk_peer_sessions_peer_id_peers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("peer_id", "node_id", name=op.f("pk_peer_sessions")),
    )
    with op.batch_alter_table("peer_sessions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_peer_sessions_node_id"), ["node_id"], unique=False)

    op.create_table(
        "pools",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("assignment_id", sa.String(), nullable=True),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.Column("network", sa.String(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment_id"], ["assignments.id"], name=op.f("fk_pools_assignment_id_assignments"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["config_id"], ["configs.id"], name=op.f("fk_pools_config_id_configs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["pools.id"], name=op.f("fk_pools_parent_id_pools"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pools")),
    )
    with op.batch_alter_table("pools", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pools_assignment_id"), ["assignment_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_pools_config_id"), ["config_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_pools_parent_id"), ["parent_id"], unique=False)

    op.create_table(
        "addresses",
        sa.Column("pool_id", sa.String(), nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["peer_id"], ["peers.id"], name=op.f("fk_addresses_peer_id_peers"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_addresses_pool_id_pools"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("pool_id", "offset", name=op.f("pk_addresses")),
    )
    with op.batch_alter_table("addresses", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_addresses_peer_id"), ["peer_id"], unique=False)

    op.create_table(
        "free_offsets",
        sa.Column("pool_id", sa.String(), nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["pool_id"], ["pools.id"], name=op.f("fk_free_offsets_pool_id_pools"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pool_id", "offset", name=op.f("pk_free_offsets")),
    )

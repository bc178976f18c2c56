"""lists in the order of an index."""

from alembic import op

revision = "0007"
down_revision: str | None = "0006"


def upgrade() -> None:
    op.drop_index("ix_audit_log_entity_type_entity_id", "audit_log")
    op.create_index("ix_audit_log_entity_type_entity_id_id", "audit_log", ["entity_type", "entity_id", "id"])
    op.drop_index("ix_health_events_config_id_node_id", "health_events")
    op.create_index("ix_health_events_config_id_node_id_id", "health_events", ["config_id", "node_id", "id"])
    op.create_index("ix_peers_config_id_id", "peers", ["config_id", "id"])

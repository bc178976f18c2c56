"""names of a config's peers in order.

A page of them by name sorted all peers of the config: 17 ms for 50,000.
"""

from alembic import op

revision = "0074"
down_revision: str | None = "0073"


def upgrade() -> None:
    op.create_index("ix_peers_config_id_name_folded_id", "peers", ["config_id", "name_folded", "id"])

"""counts of homes.

On SQLite they are kept by triggers. On PostgreSQL the writers of a config would wait for each other's counters, and
might do so in a circle; it counts in an index alone, as SQLite cannot without reading all of it.
SQLite: a later revision that copies the table `peers` drops its triggers, and must make them again.
"""

from alembic import op

revision = "0028"
down_revision: str | None = "0027"

_COUNT = """
    INSERT INTO peer_homes (config_id, node_id, peers) VALUES (new.config_id, coalesce(new.home_node_id, ''), 1)
      ON CONFLICT DO UPDATE SET peers = peers + 1;
"""
_COUNT_OFF = """
    UPDATE peer_homes SET peers = peers - 1
      WHERE config_id = old.config_id AND node_id = coalesce(old.home_node_id, '');
    DELETE FROM peer_homes
      WHERE config_id = old.config_id AND node_id = coalesce(old.home_node_id, '') AND peers = 0;
"""
SQLITE = (
    """
    CREATE TABLE peer_homes (
      node_id VARCHAR NOT NULL, config_id VARCHAR NOT NULL, peers BIGINT NOT NULL, PRIMARY KEY (node_id, config_id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX peer_homes_config_id ON peer_homes (config_id)",
    """
    INSERT INTO peer_homes (config_id, node_id, peers)
      SELECT config_id, coalesce(home_node_id, ''), count(*) FROM peers GROUP BY 1, 2
    """,
    f"CREATE TRIGGER peer_homes_added AFTER INSERT ON peers BEGIN {_COUNT} END",
    f"CREATE TRIGGER peer_homes_deleted AFTER DELETE ON peers BEGIN {_COUNT_OFF} END",
    f"""
    CREATE TRIGGER peer_homes_changed AFTER UPDATE OF home_node_id, config_id ON peers
      WHEN old.home_node_id IS NOT new.home_node_id OR old.config_id <> new.config_id BEGIN {_COUNT_OFF} {_COUNT} END
    """,
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for statement in SQLITE:
            op.execute(statement)

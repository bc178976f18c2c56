"""counts of homes, on PostgreSQL.

Each change of peers writes down by how many it changed them, as rows of its own: no two writers wait for each other.
"""

from alembic import op

revision = "0071"
down_revision: str | None = "0070"

POSTGRESQL = (
    "CREATE TABLE peer_homes (node_id VARCHAR NOT NULL, config_id VARCHAR NOT NULL, peers BIGINT NOT NULL)",
    "CREATE INDEX peer_homes_node_id ON peer_homes (node_id)",
    "CREATE INDEX peer_homes_config_id ON peer_homes (config_id)",
    """
    INSERT INTO peer_homes (node_id, config_id, peers)
      SELECT coalesce(home_node_id, ''), config_id, count(*) FROM peers GROUP BY 1, 2
    """,
    """
    CREATE FUNCTION wgfleet_count_homes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF TG_OP = 'INSERT' THEN
        INSERT INTO peer_homes (node_id, config_id, peers)
          SELECT coalesce(home_node_id, ''), config_id, count(*) FROM added GROUP BY 1, 2;
      ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO peer_homes (node_id, config_id, peers)
          SELECT coalesce(home_node_id, ''), config_id, -count(*) FROM gone GROUP BY 1, 2;
      ELSE
        INSERT INTO peer_homes (node_id, config_id, peers)
          SELECT coalesce(home_node_id, ''), config_id, sum(one) FROM (
            SELECT home_node_id, config_id, 1 AS one FROM added
            UNION ALL SELECT home_node_id, config_id, -1 FROM gone
          ) AS changed GROUP BY 1, 2 HAVING sum(one) <> 0;
      END IF;
      RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER peer_homes_added AFTER INSERT ON peers
      REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION wgfleet_count_homes()
    """,
    """
    CREATE TRIGGER peer_homes_deleted AFTER DELETE ON peers
      REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION wgfleet_count_homes()
    """,
    """
    CREATE TRIGGER peer_homes_changed AFTER UPDATE ON peers
      REFERENCING OLD TABLE AS gone NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION wgfleet_count_homes()
    """,
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in POSTGRESQL:
            op.execute(statement)

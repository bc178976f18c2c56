"""The index of names, the counts of homes and the room of pages in a new database: what its classes cannot say.

Revisions made the same of each database that is older (0024, 0028, 0071, 0072); a test compares the two. See
`peer_search.py` and `homes.py` for what it is for.
"""

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
_SQLITE = (
    "CREATE TABLE peer_search_rows (number INTEGER PRIMARY KEY, peer_id VARCHAR NOT NULL UNIQUE)",
    """
    CREATE VIRTUAL TABLE peer_search USING fts5(
      name, content='', detail='none', columnsize=0, tokenize='trigram case_sensitive 1'
    )
    """,
    """
    CREATE TRIGGER peer_search_changed AFTER UPDATE OF name_folded ON peers
    WHEN old.name_folded <> new.name_folded BEGIN
      INSERT INTO peer_search (peer_search, rowid, name)
        SELECT 'delete', number, old.name_folded FROM peer_search_rows WHERE peer_id = old.id;
      INSERT INTO peer_search (rowid, name)
        SELECT number, new.name_folded FROM peer_search_rows WHERE peer_id = old.id;
    END
    """,
    """
    CREATE TRIGGER peer_search_deleted AFTER DELETE ON peers BEGIN
      INSERT INTO peer_search (peer_search, rowid, name)
        SELECT 'delete', number, old.name_folded FROM peer_search_rows WHERE peer_id = old.id;
      DELETE FROM peer_search_rows WHERE peer_id = old.id;
    END
    """,
    """
    CREATE TABLE peer_homes (
      node_id VARCHAR NOT NULL, config_id VARCHAR NOT NULL, peers BIGINT NOT NULL, PRIMARY KEY (node_id, config_id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX peer_homes_config_id ON peer_homes (config_id)",
    f"CREATE TRIGGER peer_homes_added AFTER INSERT ON peers BEGIN {_COUNT} END",
    f"CREATE TRIGGER peer_homes_deleted AFTER DELETE ON peers BEGIN {_COUNT_OFF} END",
    f"""
    CREATE TRIGGER peer_homes_changed AFTER UPDATE OF home_node_id, config_id ON peers
      WHEN old.home_node_id IS NOT new.home_node_id OR old.config_id <> new.config_id BEGIN {_COUNT_OFF} {_COUNT} END
    """,
)
_POSTGRESQL = (
    """
    CREATE FUNCTION wgfleet_trigrams(name text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
      SELECT coalesce(array_agg(DISTINCT substr(name, i, 3)), '{}') FROM generate_series(1, char_length(name) - 2) i
    $$
    """,
    "CREATE INDEX peer_search ON peers USING gin (wgfleet_trigrams(name_folded)) WITH (gin_pending_list_limit = 256)",
    "CREATE TABLE peer_homes (node_id VARCHAR NOT NULL, config_id VARCHAR NOT NULL, peers BIGINT NOT NULL)",
    "CREATE INDEX peer_homes_node_id ON peer_homes (node_id)",
    "CREATE INDEX peer_homes_config_id ON peer_homes (config_id)",
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
    # A batch writes all rows of a page again. With room for them there no index is touched, and nothing is left to
    # vacuum: a third of the processor's time less, and less than half of the size.
    "ALTER TABLE peer_sessions SET (fillfactor = 50)",
    "ALTER TABLE usage_counters SET (fillfactor = 50)",
)
STATEMENTS = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}  # by the name of the database's kind

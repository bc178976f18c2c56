"""search of names.

New names are put into the index by `store/peer_search.py`, many at a time: a trigger does it ten times as slowly. A
peer that has no row in `peer_search_rows` is not in the index; FTS5 takes it for broken when such a name is deleted.
SQLite: a later revision that copies the table `peers` drops its triggers, and must make them again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision: str | None = "0023"

CHUNK = 1000

SQLITE = (
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
    "INSERT INTO peer_search_rows (peer_id) SELECT id FROM peers ORDER BY id",
    """
    INSERT INTO peer_search (rowid, name)
      SELECT r.number, p.name_folded FROM peer_search_rows r JOIN peers p ON p.id = r.peer_id ORDER BY r.number
    """,
)
POSTGRESQL = (
    """
    CREATE FUNCTION wgfleet_trigrams(name text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
      SELECT coalesce(array_agg(DISTINCT substr(name, i, 3)), '{}') FROM generate_series(1, char_length(name) - 2) i
    $$
    """,
    "CREATE INDEX peer_search ON peers USING gin (wgfleet_trigrams(name_folded)) WITH (gin_pending_list_limit = 256)",
)


def upgrade() -> None:
    op.add_column("peers", sa.Column("name_folded", sa.String(), server_default=sa.text("''"), nullable=False))
    _fold(op.get_bind())
    op.drop_index("ix_peers_config_id_id", "peers")
    op.create_index("ix_peers_config_id_id_name_folded", "peers", ["config_id", "id", "name_folded"])
    behind = sa.text("json_array_length(networks) > 0")
    op.create_index(
        "ix_peers_with_networks", "peers", ["config_id", "id"], sqlite_where=behind, postgresql_where=behind
    )
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.execute(statement)


def _fold(connection: sa.Connection) -> None:
    """Fold the names that there are; neither database folds all letters as the program does."""
    peers = sa.table("peers", sa.column("id"), sa.column("name"), sa.column("name_folded"))
    after = ""
    while rows := connection.execute(
        sa.select(peers.c.id, peers.c.name).where(peers.c.id > after).order_by(peers.c.id).limit(CHUNK)
    ).all():
        change = sa.update(peers).where(peers.c.id == sa.bindparam("peer")).values(name_folded=sa.bindparam("folded"))
        connection.execute(change, [{"peer": peer_id, "folded": name.casefold()} for peer_id, name in rows])
        after = rows[-1].id

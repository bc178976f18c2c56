"""PostgreSQL's statistics on tables that have grown, made at once: without them it reads whole tables for a page.

Its autovacuum makes them as well, up to a minute or two after thousands of rows came in one go. SQLite needs none: what
we ask of it has one way only.
"""

from sqlalchemy import text

from wgfleet.panel.store.engine import Store
from wgfleet.panel.store.failures import translated

ROWS = 1000  # more, or half as many again as when it looked last
_GROWN = text(
    """
    SELECT s.relname FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
      WHERE s.schemaname = current_schema() AND s.n_live_tup > 1.5 * greatest(c.reltuples, 0) + :rows
        AND pg_catalog.pg_get_userbyid(c.relowner) = current_user
      ORDER BY s.relname
    """
)


def analyze_grown(store: Store) -> list[str]:
    """Have PostgreSQL look at the tables that have grown much since it looked last; return their names.

    It reads samples, and locks out nobody but others that do the same.
    """
    if store.engine.dialect.name != "postgresql":
        return []
    with translated(), store.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        quote = connection.dialect.identifier_preparer.quote
        grown = list(connection.scalars(_GROWN, {"rows": ROWS}))
        for table in grown:
            connection.exec_driver_sql(f"ANALYZE {quote(table)}")
    return grown

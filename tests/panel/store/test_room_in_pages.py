"""Rows that are written again and again, in PostgreSQL: a new version has room beside the old one."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import text

from tests.postgresql import PostgresqlServer
from wgfleet.panel.store import Store, usage
from wgfleet.panel.store.usage import CounterRow

COUNTERS = 2000


@pytest.fixture
def store(postgresql: PostgresqlServer, postgresql_template: str) -> Iterator[Store]:
    with postgresql.copy(postgresql_template) as url, closing(Store(url)) as store:
        yield store


def test_counters_are_written_again_without_their_indexes(store: Store) -> None:
    rows = [
        CounterRow(number, "n", "c", f"{number:044}", f"peer{number:08}", 1, 0, 0, former=False)
        for number in range(COUNTERS)
    ]
    with store.write() as tx:
        usage.add_counters(tx, rows)
    for said in range(1, 5):
        with store.write() as tx:
            usage.claim(tx, [row._replace(claimed_received=said, claimed_sent=said) for row in rows])
            query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'usage_counters'"
            written, in_their_pages = tx.connection.execute(text(query)).one()
        assert written >= COUNTERS
        assert in_their_pages > 0.9 * written

"""How much the connections of one process hold of the database: each has a cache of its own."""

from contextlib import ExitStack
from pathlib import Path

from wgfleet.panel.store import Store
from wgfleet.panel.store.databases import CONNECTIONS


def test_the_connections_of_a_process_keep_little_of_the_database(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'panel.sqlite'}")
    try:
        with store.read() as tx:
            kb = -int(tx.session.connection().exec_driver_sql("PRAGMA cache_size").scalar_one())
        assert 0 < kb * CONNECTIONS // 2 <= 100 * 1024
        with ExitStack() as stack:
            for _ in range(5):
                tx = stack.enter_context(store.read())
                tx.session.connection().exec_driver_sql("SELECT 1")
        used = set()
        for _ in range(10):
            with store.read() as tx:
                used.add(id(tx.session.connection().connection.dbapi_connection))
        assert len(used) == 1, "one that is warm, and not each of five in its turn"
    finally:
        store.close()

"""No revision leads back, so a database is copied before one is applied."""

import sqlite3
from pathlib import Path

import pytest

from wgfleet.panel.errors import PermanentError
from wgfleet.panel.store import Store, schema


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def test_a_database_of_an_earlier_revision_is_copied_before_it_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "panel.sqlite"
    store = Store(f"sqlite:///{path}")
    schema.migrate(store)
    assert list(tmp_path.glob("*before*")) == [], "a new one needs no copy"
    schema.migrate(store)
    assert list(tmp_path.glob("*before*")) == [], "neither does one that is as it should be"
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE departed_nodes")
        connection.exec_driver_sql("ALTER TABLE incarnations DROP COLUMN refused")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0013'")
    schema.migrate(store)
    store.close()
    [copy] = tmp_path.glob("*before*")
    assert copy.name == "panel.sqlite.before-upgrade-from-0013"
    assert "departed_nodes" in tables(path)
    assert "departed_nodes" not in tables(copy)
    assert "peers" in tables(copy)


def test_a_copy_replaces_nothing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/panel.sqlite")
    schema.migrate(store)
    schema.copy_to(store, tmp_path / "copy")
    assert tables(tmp_path / "copy") == tables(tmp_path / "panel.sqlite")
    with pytest.raises(PermanentError, match="cannot be copied"):
        schema.copy_to(store, tmp_path / "copy")
    store.close()

"""No revision leads back, so a database is copied before one is applied."""

import os
import sqlite3
from pathlib import Path

import pytest
from alembic import command

from wgfleet.panel.errors import PermanentError
from wgfleet.panel.store import Store, revisions, schema


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def test_a_database_of_an_earlier_revision_is_copied_before_it_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "panel.sqlite"
    store = Store(f"sqlite:///{path}")
    with store.engine.begin() as connection:
        command.upgrade(revisions.configuration(connection), "0013")
    schema.migrate(store)
    store.close()
    [copy] = tmp_path.glob("*before*")
    assert copy.name == "panel.sqlite.before-upgrade-from-0013"
    assert "departed_nodes" in tables(path)
    assert "departed_nodes" not in tables(copy)
    assert "peers" in tables(copy)


def test_one_that_is_new_or_as_it_should_be_needs_no_copy(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/panel.sqlite")
    schema.migrate(store)
    schema.migrate(store)
    store.close()
    assert list(tmp_path.glob("*before*")) == []


def test_a_copy_replaces_nothing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/panel.sqlite")
    schema.migrate(store)
    schema.copy_to(store, tmp_path / "copy")
    assert tables(tmp_path / "copy") == tables(tmp_path / "panel.sqlite")
    with pytest.raises(PermanentError, match="cannot be copied"):
        schema.copy_to(store, tmp_path / "copy")
    store.close()


def test_a_copy_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"sqlite:///{tmp_path}/panel.sqlite")
    schema.migrate(store)
    (tmp_path / "copies").mkdir()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PermanentError, match="copy: No space left on device"):
        schema.copy_to(store, tmp_path / "copies" / "copy")
    (tmp_path / "file").touch()
    for wrong in ("missing", "file"):
        with pytest.raises(PermanentError, match="cannot be copied"):
            schema.copy_to(store, tmp_path / wrong / "copy")
    assert list((tmp_path / "copies").iterdir()) == []
    store.close()


def test_one_of_a_newer_program_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/panel.sqlite")
    schema.migrate(store)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(PermanentError, match="a newer one has used it"):
        schema.migrate(store)
    store.close()
    assert list(tmp_path.glob("*before*")) == []


def test_one_that_says_nothing_of_its_revision_is_no_new_one(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/panel.sqlite")
    schema.migrate(store)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
    with pytest.raises(PermanentError, match="restore a copy"):
        schema.migrate(store)
    store.close()

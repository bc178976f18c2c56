"""A database that somebody else holds."""

import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy

from tests.migrated import migrated_at
from wgfleet.panel.api import Panel


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "panel.sqlite"


@pytest.fixture
def database_url(database_file: Path) -> str:
    return migrated_at(database_file)


@pytest.mark.usefixtures("wg0")
def test_a_locked_database_is_503_with_a_time_to_try_again_and_reads_go_on(
    client: httpx.Client, panel: Panel, database_file: Path
) -> None:
    @sqlalchemy.event.listens_for(panel.store.engine, "connect")
    def impatient(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=50")

    panel.store.engine.dispose()
    other = sqlite3.connect(database_file, isolation_level=None)
    other.execute("UPDATE api_keys SET last_used_at = NULL")  # so that the next call would note its use
    other.execute("BEGIN IMMEDIATE")
    try:
        answer = client.post("/api/node-groups", json={"name": "eu"})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert client.get("/api/configs/wg0").status_code == 200
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert client.post("/api/node-groups", json={"name": "eu"}).status_code == 201

"""The CA in the database: made once, opened at every start, guarded by the master key."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from wgfleet.panel.main import build
from wgfleet.panel.settings import Settings
from wgfleet.panel.vault import VaultError


def start(database_url: str, data_dir: Path) -> tuple[str, str | None]:
    """Build a panel; return its CA's fingerprint and the first key, where one was made."""
    state = build(Settings(data_dir=data_dir, database_url=SecretStr(database_url))).state
    state.store.close()
    return state.authority.fingerprint, state.first_key


def test_the_second_start_finds_the_authority_of_the_first(database_url: str, tmp_path: Path) -> None:
    fingerprint, key = start(database_url, tmp_path / "data")
    assert key is not None
    assert start(database_url, tmp_path / "data") == (fingerprint, None)


def test_a_database_that_another_master_key_sealed_stops_the_start(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(database_url, tmp_path / "data")
    monkeypatch.setenv("WGFLEET_MASTER_KEY", base64.b64encode(bytes(32)).decode())
    with pytest.raises(VaultError, match=r"authority\.key was sealed by master key"):
        start(database_url, tmp_path / "data")

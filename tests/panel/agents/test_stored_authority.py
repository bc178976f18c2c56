"""The CA in the database: made once, opened at every start, guarded by the master key."""

import base64
from concurrent.futures import ThreadPoolExecutor
from os import environ
from pathlib import Path

import pytest
from pydantic import SecretStr

from wgfleet.panel.data_dir import prepare_data_dir
from wgfleet.panel.main import build
from wgfleet.panel.settings import Settings
from wgfleet.panel.vault import VaultError, load_vault


def start(database_url: str, data_dir: Path) -> tuple[str, str | None]:
    """Build a panel; return its CA's fingerprint and the first key, where one was made.

    The tests' database has its tables already: with it comes a master key.
    """
    prepare_data_dir(data_dir)
    load_vault(data_dir, environ)
    state = build(Settings(data_dir=data_dir, database_url=SecretStr(database_url))).state
    with state.store.read() as tx:
        fingerprint = state.authorities.read(tx).newest.fingerprint
    state.store.close()
    return fingerprint, state.first_key


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


def test_two_panels_that_start_at_once_agree_on_one_authority_and_one_first_key(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WGFLEET_MASTER_KEY", base64.b64encode(bytes(32)).decode())
    with ThreadPoolExecutor(4) as threads:
        started = list(threads.map(lambda _: start(database_url, tmp_path / "data"), range(4)))
    assert len({fingerprint for fingerprint, _ in started}) == 1
    assert sum(key is not None for _, key in started) == 1

"""The CA in the database: made once, opened at every start, guarded by the master key."""

from collections.abc import Iterator

import pytest

from wgfleet.panel.agents.first_start import ensure_authority
from wgfleet.panel.store import Store, authority
from wgfleet.panel.store.schema import migrate
from wgfleet.panel.vault import Vault, VaultError


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    migrate(store)
    yield store
    store.close()


def test_the_second_start_finds_the_authority_of_the_first(store: Store) -> None:
    vault = Vault([bytes(32)])
    with store.write() as tx:
        made = ensure_authority(tx, vault)
    with store.write() as tx:
        found = ensure_authority(tx, vault)
    assert found.fingerprint == made.fingerprint
    assert found.key_pem == made.key_pem


def test_of_two_that_start_at_once_the_first_authority_is_kept(store: Store) -> None:
    with store.write() as tx:
        first = authority.insert_once(tx, panel_id="a", certificate="a", key_sealed=b"a", created_at=1)
    with store.write() as tx:
        second = authority.insert_once(tx, panel_id="b", certificate="b", key_sealed=b"b", created_at=2)
    assert (first.panel_id, second.panel_id) == ("a", "a")


def test_a_database_that_another_master_key_sealed_stops_the_start(store: Store) -> None:
    with store.write() as tx:
        ensure_authority(tx, Vault([bytes(32)]))
    with store.write() as tx, pytest.raises(VaultError, match=r"authority\.key was sealed by master key"):
        ensure_authority(tx, Vault([bytes([1]) * 32]))

"""What the database tells of an account at a provider: its limits, and nothing that a guessed credential fits."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text

from tests.panel.dns.desk import Desk
from wgfleet.panel import clock
from wgfleet.panel.dns.providers import Account, Blocked, Provider
from wgfleet.panel.dns.providers.cloudflare import Cloudflare, CloudflareOptions
from wgfleet.panel.dns.providers.lexicon import Lexicon, LexiconOptions
from wgfleet.panel.dns.providers.rfc2136 import Rfc2136, Rfc2136Options
from wgfleet.panel.dns.rate_limits import Limiter, hide_accounts
from wgfleet.panel.parts import prepare
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store, revisions, schema
from wgfleet.panel.store.tables import DnsAccount
from wgfleet.panel.vault import Vault, key_id

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
PROVIDERS = [
    Lexicon("example.com", LexiconOptions.model_validate({"provider": "gandi", "settings": {"auth_token": "summer"}})),
    Cloudflare("a-zone", CloudflareOptions.model_validate({"token": "summer"})),
    Rfc2136("example.com", Rfc2136Options.model_validate({"key_name": "k", "key_secret": "c3VtbWVy"})),
]


@pytest.fixture
def old_store(empty_database_url: str) -> Iterator[Store]:
    """A database of the release before aliases."""
    store = Store(empty_database_url)
    with store.engine.connect().execution_options(wgfleet_write=True) as connection, connection.begin():
        command.upgrade(revisions.configuration(connection), "0014")
    yield store
    store.close()


def names(store: Store) -> dict[str, str | None]:
    with store.read() as tx:
        return {row.account: row.key_id for row in tx.session.scalars(select(DnsAccount))}


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_no_row_can_be_compared_with_a_guess(desk: Desk, provider: Provider) -> None:
    Limiter(desk.world.store, desk.world.vault).block(provider.account, 300)
    [(name, _)] = names(desk.world.store).items()
    assert provider.account.id not in name
    assert hashlib.sha256(provider.account.id.encode()).hexdigest() not in name
    Limiter(desk.world.store, Vault([NEW])).block(provider.account, 300)
    assert len(names(desk.world.store)) == 2, "the key decides"


def test_what_is_left_of_a_limit_outlives_the_names_that_a_release_before_gave(old_store: Store) -> None:
    blocked, used = Account("digest one"), Account("cloudflare digest two", calls=20, window_s=1e6)
    now = clock.now()
    with old_store.write() as tx:
        row = text(
            "INSERT INTO dns_accounts (account, tokens, updated_at, blocked_until) VALUES (:id, :left, :now, :to)"
        )
        tx.session.execute(row, {"id": blocked.id, "left": 0, "now": now, "to": now + 300})
        tx.session.execute(row, {"id": used.id, "left": 1, "now": now, "to": 0})
    schema.migrate(old_store)
    vault = Vault([NEW])
    with old_store.write() as tx:
        hide_accounts(tx, vault)
    assert set(names(old_store).values()) == {key_id(NEW).hex()}
    assert not names(old_store).keys() & {blocked.id, used.id}
    limiter = Limiter(old_store, vault)
    with pytest.raises(Blocked, match="has blocked this account"):
        limiter.take(blocked)
    limiter.take(used)
    with pytest.raises(Blocked, match="too few are left"):
        limiter.take(used)


def test_a_panel_hides_at_its_start_what_a_release_before_left(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    parts, _ = prepare(settings)
    with parts.store.write() as tx:
        tx.session.add(DnsAccount(account="digest", key_id=None, tokens=0, updated_at=0, blocked_until=0))
    parts.store.close()
    parts, _ = prepare(settings)
    assert names(parts.store).keys() == {parts.vault.aliases("digest", "dns_accounts.account")[0].digest}
    parts.store.close()


def test_a_limit_goes_on_when_the_master_key_is_rotated(either_desk: Desk) -> None:
    store, used = either_desk.world.store, Account("one", calls=20, window_s=1e6)
    blocked = Account("two")
    before = Limiter(store, Vault([OLD]))
    before.block(blocked, 300)
    for _ in range(9):
        before.take(used)
    meanwhile = Limiter(store, Vault([NEW, OLD]))
    with pytest.raises(Blocked):
        meanwhile.take(blocked)
    meanwhile.take(used)
    assert sorted(filter(None, names(store).values())) == sorted([key_id(OLD).hex(), key_id(NEW).hex()])
    with pytest.raises(Blocked, match="too few are left"):
        Limiter(store, Vault([NEW])).take(used)

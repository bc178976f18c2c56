"""The parts of a panel that each of its processes opens for itself, and what is made before the first one starts."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from os import environ

from wgfleet.panel import clock, resealing
from wgfleet.panel.address_providers import plugins as address_plugins
from wgfleet.panel.agents.authorities import Authorities
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.data_dir import check_may_be_database, prepare_data_dir
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter, hide_accounts
from wgfleet.panel.services import installation
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.services.floating import isolation
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import CONNECTIONS, Store, Tx, sessions
from wgfleet.panel.store.databases import sqlite_file
from wgfleet.panel.store.schema import has_been_used, migrate
from wgfleet.panel.vault import MASTER_KEY_FILE, Vault, load_vault


@dataclass(frozen=True, slots=True)
class Parts:
    """What reconcilers and API work with."""

    settings: Settings
    store: Store
    vault: Vault
    authorities: Authorities
    publisher: Publisher

    def newest_authority(self) -> Authority:
        """Return the CA by which people and new agents recognize the panel."""
        with self.store.read() as tx:
            return self.authorities.read(tx).newest

    def label(self, name: str) -> str:
        """Return what a process of the panel of that name is called among those that share the database."""
        return f"{self.vault.current_id} {name}"


def prepare(settings: Settings) -> tuple[Parts, str | None]:
    """Make data directory, master key, database, CA and first key where there are none; return the open parts.

    The text is that of the first admin key, or None where there was one before; it is nowhere else.
    """
    prepare_data_dir(settings.data_dir)
    if (file := sqlite_file(settings.store_url)) is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_may_be_database(file, settings.data_dir / MASTER_KEY_FILE)
    store = Store(settings.store_url)
    try:
        vault = load_vault(settings.data_dir, environ, make=not has_been_used(store))
        migrate(store)
        with store.write() as tx:
            _make_authority(tx, vault)
            # This also shows that the master key is the one that this database was sealed with.
            Authorities(vault).read(tx)
            hide_accounts(tx, vault)
            first_key = api_keys.ensure_first_key(tx)
            clock.go_on_from(sessions.newest_report(tx))
            isolation.set_give_up_after(tx, settings.health.give_up_after_s)
        with store.read() as tx:  # all sealed values are looked at: nobody waits to write meanwhile
            resealing.note_other_keys(tx, vault)
    except BaseException:
        store.close()
        raise
    return _parts(settings, store, vault), first_key


@contextmanager
def opened(settings: Settings, vault: Vault, connections: int = CONNECTIONS) -> Iterator[Parts]:
    """Open the parts in a process of a panel that was prepared; close the store in the end.

    `connections`: to the database, at most.
    """
    with closing(Store(settings.store_url, connections)) as store:
        with store.read() as tx:
            clock.go_on_from(sessions.newest_report(tx))
        yield _parts(settings, store, vault)


def _parts(settings: Settings, store: Store, vault: Vault) -> Parts:
    address_plugins.allow(settings.floating.allowed_servers, settings.floating.programs)
    publisher = Publisher(DnsPlugins.installed(settings), Limiter(store, vault), DnsMetrics())
    return Parts(settings, store, vault, Authorities(vault), publisher)


def _make_authority(tx: Tx, vault: Vault) -> None:
    """Make this installation's CA; the first panel to come does it."""
    if not installation.has_authority(tx):
        panel_id = clock.new_id()
        authority = Authority.create(panel_id, clock.now())
        installation.keep_authority(tx, vault, panel_id, authority.certificate_pem, authority.key_pem)

"""A panel put together: database, secrets, CA, first key, reconcilers, API."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from os import environ

from fastapi import FastAPI

from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api import create_app
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.services import incarnations, installation
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.services.floating import isolation
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store, Tx, sessions
from wgfleet.panel.store.schema import migrate
from wgfleet.panel.vault import Vault, load_vault


def build(settings: Settings) -> FastAPI:
    """Open everything a panel needs and return its application.

    `app.state` then has `panel`, `store`, `authority` and `first_key` (the text of the first admin key, or None where
    there was one before; it is nowhere else). The reconcilers run while the application does.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault = load_vault(settings.data_dir, environ)
    store = Store(settings.store_url)
    with ExitStack() as undo:
        undo.callback(store.close)
        migrate(store)
        with store.write() as tx:
            authority = _authority(tx, vault)
            first_key = api_keys.ensure_first_key(tx)
            clock.go_on_from(sessions.newest_report(tx))
            isolation.set_give_up_after(tx, settings.health.give_up_after_s)
        undo.pop_all()
    outlook = Outlook()
    publisher = Publisher(DnsPlugins.installed(settings), Limiter(store), DnsMetrics())

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with store.write() as tx:
            incarnations.begin(tx)
        supervisor = Supervisor(store, vault, authority, publisher, settings, outlook)
        supervisor.start()
        try:
            yield
        finally:
            await supervisor.close()
            store.close()

    panel = Panel(
        store=store,
        vault=vault,
        settings=settings,
        authority=authority,
        events=outlook.events,
        publisher=publisher,
        outlook=outlook,
    )
    app = create_app(panel, lifespan=lifespan)
    app.state.store, app.state.authority, app.state.first_key = store, authority, first_key
    return app


def _authority(tx: Tx, vault: Vault) -> Authority:
    """Return this installation's CA; the first panel to ask makes it."""
    kept = installation.authority(tx, vault)
    if kept is not None:
        return Authority.load(*kept)
    panel_id = clock.new_id()
    authority = Authority.create(panel_id, clock.now())
    installation.keep_authority(tx, vault, panel_id, authority.certificate_pem, authority.key_pem)
    return authority

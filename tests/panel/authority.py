"""The CA of a panel in tests: kept in its database, as a panel does at its first start."""

from wgfleet.panel import clock
from wgfleet.panel.agents.authorities import Authorities
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api import Panel
from wgfleet.panel.services import installation
from wgfleet.panel.store import Store
from wgfleet.panel.store import installation as rows
from wgfleet.panel.vault import Vault


def keep(store: Store, vault: Vault, authority: Authority | None = None) -> Authorities:
    """Have the database have a CA: this one, or any."""
    with store.write() as tx:
        row = rows.authority(tx)
        if row is not None and authority is not None:
            tx.session.delete(row)
            tx.session.flush()
        if row is None or authority is not None:
            made = authority or Authority.create("test", clock.now())
            installation.keep_authority(tx, vault, "test", made.certificate_pem, made.key_pem)
    return Authorities(vault)


def current(panel: Panel) -> Authority:
    """Return the CA of a panel: the old one, while it is replaced."""
    with panel.store.read() as tx:
        return panel.authorities.read(tx).current

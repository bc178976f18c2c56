"""The installation: its name and its private CA, kept in the database for all replicas."""

from wgfleet.panel import clock
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import installation as installation_rows
from wgfleet.panel.store.tables import CertificateAuthority
from wgfleet.panel.vault import Vault

ONLY_ROW = 1


def has_authority(tx: Tx) -> bool:
    """Tell whether there is a CA. A second panel that starts at the same moment waits here for the first to commit."""
    installation_rows.lock_authority(tx)
    return installation_rows.authority(tx) is not None


def keep_authority(tx: Tx, vault: Vault, panel_id: str, certificate: str, key: str) -> None:
    """Keep a new CA."""
    row = CertificateAuthority(
        id=ONLY_ROW,
        panel_id=panel_id,
        certificate=certificate,
        key_sealed=sealed.seal(vault, CertificateAuthority.key_sealed, ONLY_ROW, key),
        created_at=clock.now(),
    )
    installation_rows.add_authority(tx, row)
    audit.record(tx, audit.PANEL, "created", "authority", panel_id)


def panel_id(tx: Tx) -> str:
    """Return how this installation is named in certificates and ownership marks."""
    row = installation_rows.authority(tx)
    if row is None:
        raise LookupError("this database has no CA")
    return row.panel_id


def lock_authority(tx: Tx) -> None:
    """Have the CA that issues in this transaction stay what it is until that has ended."""
    installation_rows.lock_authority(tx)


def note_written(tx: Tx, now: float) -> None:
    """Change a row that nobody reads."""
    installation_rows.note_written(tx, now)

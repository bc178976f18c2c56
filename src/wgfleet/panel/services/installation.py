"""The installation: its name and its private CA, kept in the database for all replicas."""

from wgfleet.panel import clock
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import installation as installation_rows
from wgfleet.panel.store.tables import CertificateAuthority
from wgfleet.panel.vault import Vault

ONLY_ROW = 1


def authority(tx: Tx, vault: Vault) -> tuple[str, str] | None:
    """Return the CA's certificate and private key (PEM), or None at the first start.

    Opening it also shows at the start that the master key is the one that this database was sealed with.
    """
    row = installation_rows.authority(tx)
    return None if row is None else (row.certificate, sealed.unseal(vault, CertificateAuthority.key_sealed, row))


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


def note_written(tx: Tx, now: float) -> None:
    """Change a row that nobody reads."""
    installation_rows.note_written(tx, now)

"""The CA of this installation: made at the first start, opened at every other one.

Opening it is also the proof that the master key at hand is the one that this database was sealed with.
"""

from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.store import Tx, authority
from wgfleet.panel.vault import Vault

KEY_CONTEXT = "authority.key"


def ensure_authority(tx: Tx, vault: Vault) -> Authority:
    """Return the CA, made and kept by `tx` where there is none; raise `VaultError` under a wrong master key."""
    row = authority.get(tx)
    if row is None:
        now = clock.now()
        panel_id = clock.new_id()
        made = Authority.create(panel_id, now)
        row = authority.insert_once(
            tx,
            panel_id=panel_id,
            certificate=made.certificate_pem,
            key_sealed=vault.seal(made.key_pem, KEY_CONTEXT),
            created_at=now,
        )
    return Authority.load(row.certificate, vault.open(row.key_sealed, KEY_CONTEXT))

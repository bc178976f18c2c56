"""Rows that are kept for a time only, and go when that is over."""

from wgfleet.panel.store import Tx
from wgfleet.panel.store import audit as audit_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows

AUDIT_BATCH = 500  # entries in a transaction, so that no writer waits for long


def configs_with_tombstones(tx: Tx, before: float) -> list[str]:
    """Return the ids of configs from which public keys left before a time (s since the epoch)."""
    return peer_rows.buried_before(tx, before)


def forget_tombstones(tx: Tx, config_id: str, before: float) -> int | None:
    """Delete the tombstones of public keys that left a config before a time.

    Returns the generation below which deltas no longer name what left, so that a node gets the whole; None
    where nothing was deleted.
    """
    config = config_rows.lock(tx, config_id)
    highest = None if config is None else peer_rows.forget_buried(tx, config_id, before)
    if config is not None and highest is not None:
        config.oldest_base = max(config.oldest_base, highest)
    return highest


def forget_audit_entries(tx: Tx, before: float) -> bool:
    """Delete one batch of entries from before a time; return whether there may be more."""
    return audit_rows.forget(tx, before, AUDIT_BATCH) == AUDIT_BATCH

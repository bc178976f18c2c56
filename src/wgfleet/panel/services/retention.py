"""Rows that are kept for a time only, and go when that is over."""

from collections.abc import Callable, Collection
from enum import StrEnum

from wgfleet.panel.store import Tx, access, backups, certificates, health, operations, sessions, visits
from wgfleet.panel.store import audit as audit_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import usage as usage_rows

BATCH = 500  # rows in a transaction, so that no writer waits for long


class Kept(StrEnum):
    """What is kept for a time. Deleted in this order: an operation goes after its moves."""

    AUDIT = "audit"
    HEALTH = "health"
    MOVES = "moves"
    OPERATIONS = "operations"
    BACKUPS = "backups"
    SESSIONS = "sessions"
    JOIN_TOKENS = "join_tokens"
    DNS_ACCOUNTS = "dns_accounts"
    CERTIFICATES = "certificates"
    USAGE_HOURS = "usage_hours"
    USAGE = "usage"
    VISITS = "visits"


_FORGET: dict[Kept, Callable[[Tx, float, int], int]] = {
    Kept.AUDIT: audit_rows.forget,
    Kept.HEALTH: health.forget_events,
    Kept.MOVES: operations.forget_moves,
    Kept.OPERATIONS: operations.forget,
    Kept.BACKUPS: backups.forget,
    Kept.JOIN_TOKENS: access.forget_tokens,
    Kept.DNS_ACCOUNTS: dns_rows.forget_accounts,
    Kept.CERTIFICATES: certificates.forget,
    Kept.USAGE_HOURS: usage_rows.roll_up,
    Kept.USAGE: usage_rows.forget,
    Kept.VISITS: visits.forget,
}


OWED_S = 30 * 86400.0


def configs_with_tombstones(tx: Tx, before: float) -> list[str]:
    """Return the ids of configs from which public keys left before a time (s since the epoch)."""
    return peer_rows.buried_before(tx, before)


def forget_tombstones(tx: Tx, config_id: str, before: float) -> int | None:
    """Delete the tombstones of public keys that left a config before a time.

    Those that a node has yet to apply are kept longer: they say whom it may still serve.

    Returns the generation below which deltas no longer name what left, so that a node gets the whole; None
    where nothing was deleted.
    """
    config = config_rows.lock(tx, config_id)
    highest = None if config is None else peer_rows.forget_buried(tx, config_id, before, before - OWED_S)
    if config is not None and highest is not None:
        config.oldest_base = max(config.oldest_base, highest)
    return highest


def old_sessions(tx: Tx, before: float) -> list[sessions.Key]:
    """Return one batch of sessions from before a time that are to be forgotten."""
    return sessions.older(tx, before, BATCH)


def forget_sessions(tx: Tx, before: float, found: Collection[sessions.Key]) -> None:
    """Delete sessions that `old_sessions` found."""
    sessions.forget_older(tx, before, found)


def forget(tx: Tx, kept: Kept, before: float) -> int:
    """Delete one batch of what is from before a time; return how many rows. Fewer than `BATCH`: there are no more."""
    return _FORGET[kept](tx, before, BATCH)

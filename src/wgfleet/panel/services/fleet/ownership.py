"""Owners of peers: whose device one is, and what becomes of it when that user is disabled or deleted."""

from collections.abc import Sequence
from itertools import groupby

from wgfleet.panel.errors import NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import Tx
from wgfleet.panel.store import owners as owner_rows
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.tables import Peer
from wgfleet.panel.vault import Vault


def owner_id(tx: Tx, reference: str) -> str:
    """Return the id of the user that a field of a body names as the owner."""
    user = user_rows.find(tx, reference)
    if user is None:
        raise NotFound(f"there is no user {reference!r}", Hint(HintCode.LIST_USERS), field="owner")
    return user.id


def give(tx: Tx, actor: str, peer: Peer, user_id: str | None) -> None:
    """Make a peer the device of a user, or nobody's. No node hears of it."""
    if peer.owner_id != user_id:
        audit.record(tx, actor, "owner_set", "peer", peer.id, name=peer.name, owner=user_id, before=peer.owner_id)
        peer.owner_id = user_id


def count(tx: Tx, user_id: str) -> int:
    """Return how many devices a user has."""
    return owner_rows.counts(tx, [user_id]).get(user_id, 0)


def counts(tx: Tx, user_ids: Sequence[str]) -> dict[str, int]:
    """Return how many devices users have, by user id, of those that have any."""
    return owner_rows.counts(tx, user_ids)


def switch_off(tx: Tx, vault: Vault, actor: str, user_id: str) -> int:
    """Have no node accept the devices of a user any more; return how many were on."""
    on = [peer for peer in owner_rows.owned(tx, user_id) if peer.enabled]
    for peer in on:
        peers.update(tx, vault, actor, peer, {"enabled": False})
    return len(on)


def delete_all(tx: Tx, actor: str, user_id: str) -> None:
    """Delete all devices of a user."""
    for config_id, group in groupby(owner_rows.owned(tx, user_id), key=lambda peer: peer.config_id):
        peers.delete(tx, actor, configs.get(tx, config_id), [peer.id for peer in group])

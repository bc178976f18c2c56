"""Owners of peers: whose device one is, and what becomes of it when that user is disabled or deleted.

A user is locked before the configs of the devices: who makes one for the user keeps the user as it is meanwhile.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

from wgfleet.panel.errors import Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs, generations
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.services.fleet.peers import PeerDraft
from wgfleet.panel.store import Tx
from wgfleet.panel.store import owners as owner_rows
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.tables import Peer
from wgfleet.panel.store.users import HeldUser
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

NOBODY = ""
"""The id of no user."""


def owner_id(tx: Tx, reference: str) -> str:
    """Return the id of the user that a field of a body names as the owner."""
    user = user_rows.find(tx, reference)
    if user is None:
        raise NotFound(
            Reason("there is no user {reference!r}", reference=reference), Hint(HintCode.LIST_USERS), field="owner"
        )
    return user.id


def wanted_id(tx: Tx, reference: str) -> str:
    """Return the id of the user whose peers are looked for; that of nobody where there is none of the name.

    Who may see peers need not know which users there are.
    """
    user = user_rows.find(tx, reference)
    return NOBODY if user is None else user.id


def hold(tx: Tx, drafts: Sequence[PeerDraft], *, field: str = "", first: int = 0) -> None:
    """Refuse peers for users who are gone, and those that would be on for users who are disabled.

    Until the transaction ends, nobody deletes or disables these users. Call it before a config is locked. `field`,
    `first`: as in `peers.add`.
    """
    wanted = {draft.spec.owner_id for draft in drafts if draft.spec.owner_id is not None}
    found = user_rows.held(tx, wanted) if wanted else {}
    for number, draft in enumerate(drafts, first):
        if draft.spec.owner_id is not None:
            at = f"{field}[{number}].owner" if field else "owner"
            check(found.get(draft.spec.owner_id), at, enabled=draft.spec.enabled)


def hold_all(tx: Tx, user_ids: Iterable[str]) -> None:
    """Have nobody delete or disable users until the transaction ends. Call it before a config is locked."""
    user_rows.held(tx, set(user_ids))


def check(owner: HeldUser | None, field: str, *, enabled: bool) -> None:
    """Refuse a user who is gone as the owner of a peer, and one who is disabled where the peer is on."""
    if owner is None:
        raise NotFound(
            Reason("the user who was to be the owner was deleted meanwhile"), Hint(HintCode.LIST_USERS), field=field
        )
    if owner.disabled and enabled:
        raise Invalid(
            Reason(
                "user {owner!r} is disabled, whose devices are switched off; enable the user first, or have the "
                "device switched off",
                owner=owner.name,
            ),
            field=field,
        )


def give(tx: Tx, actor: str, peer: Peer, user_id: str | None, *, enabled: bool | None = None) -> None:
    """Make a peer the device of a user, or nobody's. No node hears of it.

    `enabled`: whether it is on from now on, None: as it is. Of several owners in a transaction see `hold_all`.
    """
    if peer.owner_id != user_id:
        if user_id is not None:
            found = user_rows.held(tx, [user_id])
            check(found.get(user_id), "owner", enabled=peer.enabled if enabled is None else enabled)
        audit.record(tx, actor, "owner_set", "peer", peer.id, name=peer.name, owner=user_id, before=peer.owner_id)
        peer.owner_id = user_id


def is_owner_in(tx: Tx, user_id: str, config_ids: Collection[str]) -> bool:
    """Say whether a user has a device in one of some configs."""
    return not set(config_ids).isdisjoint(owner_rows.config_ids(tx, user_id))


def count(tx: Tx, user_id: str) -> int:
    """Return how many devices a user has."""
    return owner_rows.counts(tx, [user_id]).get(user_id, 0)


def counts(tx: Tx, user_ids: Sequence[str]) -> dict[str, int]:
    """Return how many devices users have, by user id, of those that have any."""
    return owner_rows.counts(tx, user_ids)


def switch_off(tx: Tx, vault: Vault, actor: str, user_id: str) -> int:
    """Have no node accept the devices of a user, who is locked, any more; return how many were on."""
    on = [peer for peer in _held(tx, user_id) if peer.enabled]
    for peer in on:
        peers.update(tx, vault, actor, peer, {"enabled": False})
    return len(on)


def delete_all(tx: Tx, actor: str, user_id: str) -> None:
    """Delete all devices of a user, who is locked."""
    for config_id, group in groupby(_held(tx, user_id), key=lambda peer: peer.config_id):
        peers.delete(tx, actor, configs.get(tx, config_id), [peer.id for peer in group])


def _held(tx: Tx, user_id: str) -> Sequence[Peer]:
    """Return all devices of a user once nobody else changes them: a call that has not ended may take some back."""
    for config_id in owner_rows.config_ids(tx, user_id):
        generations.hold(tx, config_id)
    return owner_rows.owned(tx, user_id)

"""Devices of users themselves: made, rotated and deleted by them, as many as they may have."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from wgfleet.panel.domain.held_settings import HELD
from wgfleet.panel.errors import Conflict, Forbidden, Invalid, NotFound
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import limits, users
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.services.fleet.peer_details import PeerDetails
from wgfleet.panel.services.fleet.peers import Created, PeerDraft, PeerSpec
from wgfleet.panel.store import Tx, shown_peers
from wgfleet.panel.store import jobs as job_rows
from wgfleet.panel.store import owners as owner_rows
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.peer_nodes import Places
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Config, Peer
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

MOST_CONFIGS = 1000


class DeviceAllowance(NamedTuple):
    """How many devices a user has and may have, and in which configs."""

    devices: int
    most: int
    configs: Sequence[Config]


def allowance(tx: Tx, caller: Caller, most: int) -> DeviceAllowance:
    """Return what a user may make. `most`: of who has no number of its own."""
    user = users.of_caller(tx, caller)
    own = most if user.device_limit is None else user.device_limit
    return DeviceAllowance(
        owner_rows.counts(tx, [user.id]).get(user.id, 0), own, configs.page(tx, None, MOST_CONFIGS, caller.limit)
    )


def draft(vault: Vault, caller: Caller, name: str, public_key: str | None) -> PeerDraft:
    """Make the keys of a new device. Its name begins with the user's, so that it is in nobody's way."""
    spec = PeerSpec(f"{caller.name}-{name}", public_key=public_key, owner_id=caller.id)
    if len(spec.name) > peers.MAX_NAME:
        raise Invalid(
            Reason("is too long: give {most} characters at most", most=peers.MAX_NAME - len(caller.name) - 1),
            field="name",
        )
    return peers.draft(vault, [spec])[0]


def create(tx: Tx, caller: Caller, reference: str | None, device: PeerDraft, most: int) -> Created:
    """Make a device in a config, by id or name; None: the only one that the user sees."""
    user = user_rows.lock(tx, caller.id)  # of two made at once, the second sees the first
    if user is not None and user.disabled:
        raise Forbidden(Reason("user {user!r} was disabled meanwhile; ask an administrator", user=user.name))
    may = allowance(tx, caller, most)
    if may.devices >= may.most:
        raise Conflict(
            Reason(
                "you have {devices} devices, and may have {most}; delete one, or ask an administrator for more",
                devices=may.devices,
                most=may.most,
            )
        )
    if reference is None:
        if len(may.configs) != 1:
            names = ", ".join(each.name for each in may.configs) or "none"
            raise Invalid(Reason("say in which config; you may have devices in {names}", names=names), field="config")
        reference = may.configs[0].id
    limits.check(tx, caller.limit, "config", reference, "config")
    config = configs.get(tx, reference)
    if (places := _nodes(tx, caller.id, config.id)) is not None:
        details = PeerDetails(nodes=tuple(sorted(places)), kept_nodes=places)
        device = replace(device, spec=replace(device.spec, details=details))
    return peers.create(tx, caller.actor, config, [device])


def _nodes(tx: Tx, user_id: str, config_id: str) -> Places | None:
    """Return what the devices of a user in a config may use together, of which each is limited; else None."""
    owned = [peer.id for peer in owner_rows.owned(tx, user_id) if peer.config_id == config_id]
    places = peer_node_rows.of_peers(tx, owned)
    return frozenset().union(*places.values()) if owned and len(places) == len(owned) else None


def page(tx: Tx, caller: Caller, after: str | None, limit: int) -> list[ShownPeer]:
    """Return the caller's devices in the order they were made, after the id `after`."""
    found = shown_peers.by_ids(tx, owner_rows.page(tx, users.of_caller(tx, caller).id, after, limit))
    return sorted(found, key=lambda peer: peer.id)


def get(tx: Tx, caller: Caller, peer_id: str) -> Peer:
    """Return a device of the caller's own."""
    try:
        peer = peers.get(tx, peer_id)
    except NotFound:
        peer = None
    if peer is None or peer.owner_id != users.of_caller(tx, caller).id:
        raise NotFound(Reason("there is no device {peer_id!r} of yours", peer_id=peer_id))
    return peer


def rotate(tx: Tx, vault: Vault, caller: Caller, peer: Peer, public_key: str | None) -> None:
    """Give a device new keys, or a new key of its user's own; its present file stops working."""
    if not peer.enabled:
        raise Forbidden(Reason("device {peer!r} was switched off; ask an administrator", peer=peer.name))
    peers.update(
        tx, vault, caller.actor, peer, {"public_key": public_key} if public_key is not None else {"rotate_keys": True}
    )
    tx.flush()


def delete(tx: Tx, caller: Caller, peer: Peer) -> None:
    """Delete a device; of one that is kept out, or that it or a tag limits, an administrator: it could be made again.

    So is the last of a user's devices in a config that is limited to nodes: the next one has these of those before it.
    """
    user_rows.lock(tx, caller.id)  # of two deleted at once, the second sees the first
    if not peer.enabled:
        raise Forbidden(Reason("device {peer!r} was switched off; ask an administrator", peer=peer.name))
    if peer.restricted_at is not None or _is_limited(tx, peer):
        raise Forbidden(
            Reason("device {peer!r} has limits, which would end with it; ask an administrator", peer=peer.name)
        )
    before = _nodes(tx, caller.id, peer.config_id)
    peers.delete(tx, caller.actor, configs.get(tx, peer.config_id), [peer.id])
    if before is not None and _nodes(tx, caller.id, peer.config_id) is None:
        raise Forbidden(
            Reason(
                "device {peer!r} is limited to some nodes, which would end with it; give it new keys, or ask an "
                "administrator",
                peer=peer.name,
            )
        )


def _is_limited(tx: Tx, peer: Peer) -> bool:
    """Say whether a peer or one of its tags has jobs, speeds or rules; what its config has, the next device has too."""
    tags = tag_rows.of_peer(tx, peer.id)
    if any(getattr(each, name) is not None for each in (peer, *tags) for name in HELD):
        return True
    return bool(job_rows.of_peers(tx, [peer.id])) or any(job_rows.of_owner(tx, "tag_id", tag.id) for tag in tags)

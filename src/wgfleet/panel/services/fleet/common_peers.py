"""The users' peers that all nodes of a cluster have in common, rendered from rows once for all of them.

What a node lacks of them (those that it gave up, those that others took over) is left out afterwards.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from wgfleet.panel.domain import rendering
from wgfleet.panel.store import Tx, desired_peers, sealed
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Peer
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.keys import PublicKey

Key = tuple[str, int, int]
"""Config, base generation (0: all peers), generation: what is rendered for it never changes."""


@dataclass(frozen=True, slots=True)
class CommonPeers:
    """What changed of a config's peers after a generation. Not to be changed: several pushes may share it.

    `unreadable`: those whose preshared key does not open, and why.
    """

    upsert: Mapping[PublicKey, DesiredPeer]
    remove: tuple[PublicKey, ...] = ()
    unreadable: Mapping[PublicKey, str] = field(default_factory=dict)

    def without(self, left_out: Collection[str]) -> tuple[dict[PublicKey, DesiredPeer], tuple[PublicKey, ...]]:
        """Return what a node gets, and what is taken from it; raise `VaultError` where it would lack a key."""
        for key, trouble in self.unreadable.items():
            if key not in left_out:
                raise VaultError(trouble)
        gone = [key for key in self.upsert if key in left_out] if left_out else []
        upsert = dict(self.upsert)
        for key in gone:
            del upsert[key]
        return upsert, (*self.remove, *gone, *(key for key in self.unreadable if key in left_out))


class Keeper(Protocol):
    """Keeps renderings for a while."""

    def get(self, key: Key, render: Callable[[], CommonPeers]) -> CommonPeers:
        """Return the rendering of `key`, made by `render` unless it is at hand."""
        ...


def render(tx: Tx, vault: Vault, config_id: str, pool_ids: Collection[str], since: int) -> CommonPeers:
    """Render the peers of a config, with their addresses in these pools; `since` 0: all, else what changed after it."""
    changed = desired_peers.changed_since(tx, config_id, since)
    of = address_rows.of_peers_in_pools(tx, pool_ids, [peer.id for peer in changed] if since else None)
    remove = [PublicKey(key) for key in peer_rows.removed_since(tx, config_id, since)] if since else []
    upsert: dict[PublicKey, DesiredPeer] = {}
    unreadable: dict[PublicKey, str] = {}
    for peer in changed:
        key = PublicKey(peer.public_key)
        if not peer.enabled:
            remove.append(key)
            continue
        try:
            secret = _preshared_key(vault, peer.id, peer.preshared_key_sealed)
            upsert[key] = rendering.peer(of.get(peer.id, ()), peer.networks, secret)
        except VaultError as error:
            unreadable[key] = str(error)
    return CommonPeers(upsert, tuple(remove), unreadable)


def preshared_key(vault: Vault, peer: Peer) -> str | None:
    """Return the peer's preshared key, or None where it has none."""
    return _preshared_key(vault, peer.id, peer.preshared_key_sealed)


def _preshared_key(vault: Vault, peer_id: str, value: bytes | None) -> str | None:
    return None if value is None else sealed.unseal_value(vault, Peer.preshared_key_sealed, peer_id, value)

"""The users' peers that all nodes of a cluster have in common, rendered from rows once for all of them.

What a node lacks of them (those that it gave up, those that others took over) is left out afterwards.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from wgfleet.panel.domain import rendering
from wgfleet.panel.services import held_settings
from wgfleet.panel.store import Tx, desired_peers, sealed
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Peer
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.protocol import features
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.destinations import RuleSet
from wgfleet.protocol.keys import PublicKey

Key = tuple[str, int, int]
"""Config, base generation (0: all peers), generation: what is rendered for it never changes."""


FEW_KEYS = 32  # that are looked for one by one; more are looked for among the keys, which takes 10 ms for 10,000

_decoder = msgspec.json.Decoder(dict[PublicKey, DesiredPeer])


class PackedPeers(Mapping[PublicKey, DesiredPeer]):
    """Peers as the JSON that nodes get: 140 bytes each, where objects take 500. Each reading makes them again."""

    def __init__(self, peers: Mapping[PublicKey, DesiredPeer]) -> None:
        self.members = msgspec.json.encode(peers)[1:-1]
        """What is between the braces."""
        self.needs = features.needed(DesiredPeer, peers.values())
        """The features that an agent needs for all that peers have; without one, it is sent less of them."""
        self._count = len(peers)

    def unpacked(self) -> dict[PublicKey, DesiredPeer]:
        """Return them as objects."""
        return _decoder.decode(b"{%b}" % self.members)

    def has_any(self, keys: Collection[str]) -> bool:
        """Tell whether one of these is among them."""
        if len(keys) > FEW_KEYS:
            return not self.unpacked().keys().isdisjoint(keys)
        return any(b'"%b":' % key.encode() in self.members for key in keys)

    def __getitem__(self, key: PublicKey) -> DesiredPeer:
        return self.unpacked()[key]

    def __iter__(self) -> Iterator[PublicKey]:
        return iter(self.unpacked())

    def __len__(self) -> int:
        return self._count


@dataclass(frozen=True, slots=True)
class CommonPeers:
    """What changed of a config's peers after a generation. Not to be changed: several pushes may share it.

    `unreadable`: those whose preshared key does not open, and why. `rule_sets`: those that nodes are to know, where the
    interface changed too.
    """

    upsert: Mapping[PublicKey, DesiredPeer]
    remove: tuple[PublicKey, ...] = ()
    unreadable: Mapping[PublicKey, str] = field(default_factory=dict)
    rule_sets: tuple[RuleSet, ...] = ()

    def packed(self) -> "CommonPeers":
        """Return the same in little memory."""
        return replace(self, upsert=PackedPeers(self.upsert))

    def is_whole_without(self, left_out: Collection[str]) -> bool:
        """Tell whether there is nothing to be left out, so that the JSON of all of them serves."""
        return isinstance(self.upsert, PackedPeers) and not (
            self.remove or self.unreadable or self.upsert.has_any(left_out)
        )

    def without(self, left_out: Collection[str]) -> tuple[dict[PublicKey, DesiredPeer], tuple[PublicKey, ...]]:
        """Return what a node gets, and what is taken from it; raise `VaultError` where it would lack a key."""
        for key, trouble in self.unreadable.items():
            if key not in left_out:
                raise VaultError(trouble)
        upsert = self.upsert.unpacked() if isinstance(self.upsert, PackedPeers) else dict(self.upsert)
        gone = [key for key in upsert if key in left_out] if left_out else []
        for key in gone:
            del upsert[key]
        return upsert, (*self.remove, *gone, *(key for key in self.unreadable if key in left_out))


class Keeper(Protocol):
    """Keeps renderings for a while."""

    def get(self, key: Key, render: Callable[[], CommonPeers]) -> CommonPeers:
        """Return the rendering of `key`, made by `render` unless it is at hand."""
        ...


def render(
    tx: Tx, vault: Vault, config_id: str, pool_ids: Collection[str], since: int, barred: Collection[str] = ()
) -> CommonPeers:
    """Render the peers of a config, with their addresses in these pools; `since` 0: all, else what changed after it.

    `barred`: ids of peers that the node may not have.
    """
    changed = desired_peers.changed_since(tx, config_id, since)
    ids = [peer.id for peer in changed] if since else None
    own = {peer.id: peer.held for peer in changed if not peer.held.is_empty}
    of_others, held = held_settings.in_effect(tx, config_id, own, ids)
    of = address_rows.of_peers_in_pools(tx, pool_ids, ids)
    remove = [PublicKey(key) for key in peer_rows.removed_since(tx, config_id, since)] if since else []
    upsert: dict[PublicKey, DesiredPeer] = {}
    unreadable: dict[PublicKey, str] = {}
    for peer in changed:
        key = PublicKey(peer.public_key)
        if not peer.admitted or peer.id in barred:
            remove.append(key)
            continue
        try:
            secret = _preshared_key(vault, peer.id, peer.preshared_key_sealed)
            upsert[key] = rendering.peer(of.get(peer.id, ()), peer.networks, secret, held.get(peer.id, of_others))
        except VaultError as error:
            unreadable[key] = str(error)
    return CommonPeers(upsert, tuple(remove), unreadable)


def preshared_key(vault: Vault, peer: Peer) -> str | None:
    """Return the peer's preshared key, or None where it has none."""
    return _preshared_key(vault, peer.id, peer.preshared_key_sealed)


def _preshared_key(vault: Vault, peer_id: str, value: bytes | None) -> str | None:
    return None if value is None else sealed.unseal_value(vault, Peer.preshared_key_sealed, peer_id, value)

"""Rows of peers as nodes are to have them: no more than the columns that this takes.

A whole config is read at once, and 10,000 objects that know their session are garbage that stays for long.
"""

from typing import NamedTuple

from sqlalchemy import select

from wgfleet.panel.domain.held_settings import HELD, HeldSettings
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Peer


class PeerRow(NamedTuple):
    """A peer. `admitted`: whether nodes let it in. `networks` are those behind it. `held`: what it sets for itself."""

    id: str
    public_key: str
    admitted: bool
    networks: list[str]
    preshared_key_sealed: bytes | None
    held: HeldSettings


_COLUMNS = (Peer.id, Peer.public_key, Peer.admitted, Peer.networks, Peer.preshared_key_sealed)
_HELD = tuple(getattr(Peer, name) for name in HELD)


def changed_since(tx: Tx, config_id: str, generation: int) -> list[PeerRow]:
    """Return the peers of a config that changed after a generation (0: all of them)."""
    query = select(*_COLUMNS, *_HELD).where(Peer.config_id == config_id).order_by(Peer.id)
    rows = tx.session.execute(query.where(Peer.generation > generation) if generation else query)
    return [
        PeerRow(peer_id, key, admitted, networks, secret, HeldSettings._make(held))
        for peer_id, key, admitted, networks, secret, *held in rows
    ]

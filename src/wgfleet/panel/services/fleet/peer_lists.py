"""Lists of peers over all configs, for people who look for one: by name, key or address, and by where they are."""

from collections.abc import Collection
from dataclasses import replace

from wgfleet.panel import clock
from wgfleet.panel.domain.fields import one_spelling
from wgfleet.panel.services.fleet import peers, tags
from wgfleet.panel.store import Tx, listed_peers, shown_peers
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.listed_peers import PeerFilter, PeerOrder
from wgfleet.panel.store.peer_search import Found
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Peer

__all__ = ["PeerFilter", "PeerOrder", "extent", "page", "search", "whole"]


def page(
    tx: Tx, wanted: PeerFilter, live_s: float, order: PeerOrder, after: str | None, limit: int, *, backwards: bool
) -> Found:
    """Return peers that a filter lets through; `live_s`: for how long a handshake counts as live."""
    timed = replace(wanted, live_since=clock.steady() - live_s)
    rows = listed_peers.page(tx, timed, order, after, limit + 1, backwards=backwards)
    return Found(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


def whole(tx: Tx, wanted: PeerFilter, after: str | None, limit: int) -> tuple[list[Peer], str | None]:
    """Return whole rows of peers that fit, in the order of creation, after the id `after`; and the id to go on from."""
    ids = listed_peers.ids(tx, wanted, after, limit)
    rows = sorted(peer_rows.by_ids(tx, ids), key=lambda peer: peer.id)
    return rows, ids[-1] if len(ids) == limit else None


def extent(tx: Tx, wanted: PeerFilter) -> tuple[int, str]:
    """Return how many peers fit now, and the id of the one that was made last; empty where none fits."""
    return listed_peers.extent(tx, wanted)


def search(
    tx: Tx, wanted: PeerFilter, live_s: float, part: str, config_ids: Collection[str], after: str | None, limit: int
) -> Found:
    """Return peers of some configs by a part of the name, a whole key or a whole address.

    Of several configs, the first `limit`: to go on from there, choose one.
    """
    part = one_spelling(part.strip())
    found = [each for each in shown_peers.by_ids(tx, listed_peers.holders(tx, part)) if after is None]
    looked_up_to = None
    if not found:
        for config_id in config_ids:
            more, looked_up_to = peers.search(tx, config_id, part, after, limit - len(found))
            found += more
            if len(found) >= limit:
                break
    live = _live(tx, found, clock.steady() - live_s) if wanted.live is not None else set()
    kept = [each for each in found if each.config_id in config_ids and _passes(each, wanted, live)]
    if wanted.tag_id is not None:
        kept = tags.only(tx, wanted.tag_id, kept)
    return Found(kept, looked_up_to if len(config_ids) == 1 else None)


def _passes(peer: ShownPeer, wanted: PeerFilter, live: Collection[str]) -> bool:
    return (
        wanted.node_id in {None, peer.home_node_id}
        and wanted.enabled in {None, peer.enabled}
        and wanted.owner_id in {None, peer.owner_id}
        and (wanted.live is None or wanted.live == (peer.id in live))
    )


def _live(tx: Tx, found: list[ShownPeer], since: float) -> set[str]:
    sessions = peers.sessions(tx, [peer.id for peer in found])
    return {peer_id for peer_id, session in sessions.items() if session.latest_handshake >= since}

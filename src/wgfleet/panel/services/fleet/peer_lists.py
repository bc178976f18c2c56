"""Lists of peers over all configs, for people who look for one: by name, key or address, and by where they are."""

import binascii
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from dataclasses import replace

from wgfleet.panel import clock
from wgfleet.panel.domain.cursors import refused
from wgfleet.panel.domain.fields import may_be_id, one_spelling
from wgfleet.panel.errors import Invalid
from wgfleet.panel.store import Tx, listed_peers, peer_search
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.listed_peers import PeerFilter, PeerOrder, Place
from wgfleet.panel.store.peer_search import Found
from wgfleet.panel.store.tables import Peer
from wgfleet.protocol.reasons import Reason

MAX_DIGITS = 18  # of a number of bytes that a cursor has: databases count to somewhat more

__all__ = ["PeerFilter", "PeerOrder", "check_cursor", "chosen", "extent", "ids", "page", "search", "searched", "whole"]


def page(
    tx: Tx, wanted: PeerFilter, live_s: float, order: PeerOrder, after: str | None, limit: int, *, backwards: bool
) -> Found:
    """Return peers that a filter lets through; `live_s`: for how long a handshake counts as live.

    The cursor has the last peer's name, traffic or handshake as they were: pages go on from there also where the peer
    has another by now, or is gone.
    """
    timed = replace(wanted, live_since=clock.steady() - live_s)
    place = None if after is None else _place(order, after)
    rows = listed_peers.page(tx, timed, order, place, limit + 1, backwards=backwards)
    return Found([row.peer for row in rows[:limit]], _cursor(order, rows[limit - 1].place) if rows[limit:] else None)


def whole(tx: Tx, wanted: PeerFilter, after: str | None, limit: int) -> tuple[list[Peer], str | None]:
    """Return whole rows of peers that fit, in the order of creation, after the id `after`; and the id to go on from."""
    found, following = ids(tx, wanted, after, limit)
    return chosen(tx, found), following


def ids(tx: Tx, wanted: PeerFilter, after: str | None, limit: int) -> tuple[list[str], str | None]:
    """Return the ids alone, as `whole` does the rows."""
    found = listed_peers.ids(tx, wanted, after, limit)
    return found, found[-1] if len(found) == limit else None


def chosen(tx: Tx, peer_ids: Collection[str]) -> list[Peer]:
    """Return whole rows of some peers, in the order of creation; those that are gone are left out."""
    return sorted(peer_rows.by_ids(tx, peer_ids), key=lambda peer: peer.id)


def extent(tx: Tx, wanted: PeerFilter) -> tuple[int, str]:
    """Return how many peers fit now, and the id of the one that was made last; empty where none fits."""
    return listed_peers.extent(tx, wanted)


def search(tx: Tx, wanted: PeerFilter, live_s: float, part: str, after: str | None, limit: int) -> Found:
    """Return peers by a part of the name, a whole key or a whole address, in the order of creation.

    Where few fit, a page may have less than `limit`, or none, and a cursor to look further.
    """
    part, timed = one_spelling(part.strip()), replace(wanted, live_since=clock.steady() - live_s)
    if after is None:
        holders = peer_search.holders(tx, part)
        if holders:
            return Found(listed_peers.of_some(tx, timed, holders), None)
    return listed_peers.search(tx, timed, part, after, limit)


def searched(text: str | None, field: str = "search") -> str | None:
    """Return what is searched for; refuse, in a `field`, what nothing can be seen of: all peers would be meant."""
    part = None if text is None else one_spelling(text.strip())
    if part == "":
        raise Invalid(Reason("must have characters that can be seen, and no spaces at its ends"), field=field)
    return part


def _cursor(order: PeerOrder, place: Place) -> str:
    *values, peer_id = place
    if order == PeerOrder.NAME:
        return f"{urlsafe_b64encode(values[0].encode()).decode()}-{peer_id}"
    return "-".join(str(each) for each in (*values, peer_id))


def _place(order: PeerOrder, cursor: str) -> Place:
    """Return the place that a cursor is about, or refuse it."""
    if order == PeerOrder.MADE:
        check_cursor(cursor)
        return (cursor,)
    text, _, peer_id = cursor.rpartition("-")
    check_cursor(peer_id)
    try:
        return (_value(order, text), peer_id)
    except (ValueError, binascii.Error):
        raise refused() from None


def check_cursor(cursor: str | None) -> None:
    """Refuse what is no id of the last peer of a page: taken for one it would say that there are no more."""
    if cursor is not None and not may_be_id(cursor):
        raise refused()


def _value(order: PeerOrder, text: str) -> str | int | float:
    if order == PeerOrder.NAME:
        name = urlsafe_b64decode(text.encode()).decode()
        if "\0" in name:  # what no name has, and PostgreSQL does not take
            raise ValueError
        return name
    if order == PeerOrder.TRAFFIC:
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
            raise ValueError
        return int(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number

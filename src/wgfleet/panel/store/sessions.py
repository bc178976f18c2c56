"""Rows of sessions: what nodes last reported of peers. All times are of `clock.steady`."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, cast

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import upsert_of_peers
from wgfleet.panel.store.tables import Peer, PeerSession
from wgfleet.protocol.observed import PeerStats


class NodeSessions(NamedTuple):
    """What a node reported of a config's peers, by public key."""

    node_id: str
    config_id: str
    stats: Mapping[str, PeerStats]


def record(tx: Tx, reports: Sequence[NodeSessions], seen_at: float) -> list[NodeSessions]:
    """Write the latest of each public key; keys that are no longer peers are passed over.

    Return the reports that were not written: the node does not carry the config, so it has no say about its peers.
    """
    carried = assignment_rows.carried(tx, {each.node_id for each in reports})
    rows = [
        (each.node_id, stats.endpoint, stats.latest_handshake, stats.rx, stats.tx, seen_at, each.config_id, key)
        for each in reports
        if (each.node_id, each.config_id) in carried
        for key, stats in each.stats.items()
    ]
    upsert_of_peers(tx, cast("Table", PeerSession.__table__), _REPORTED, rows, ("peer_id", "node_id"), _NEWEST)
    return [each for each in reports if (each.node_id, each.config_id) not in carried]


_REPORTED = ("node_id", "endpoint", "latest_handshake", "rx", "tx", "seen_at")
# Of two sessions in the same second the one heard of later counts, and counters are no news of a session.
_NEWEST = {name: f"excluded.{name}" for name in ("endpoint", "latest_handshake", "rx", "tx")} | {
    "seen_at": """
        CASE WHEN excluded.latest_handshake != peer_sessions.latest_handshake
            OR excluded.endpoint IS DISTINCT FROM peer_sessions.endpoint
        THEN excluded.seen_at ELSE peer_sessions.seen_at END
    """
}


def known(tx: Tx, node_id: str, config_id: str, keys: Collection[str]) -> dict[str, tuple[str | None, int]]:
    """Return (endpoint, latest handshake) of the sessions that a node has rows of, of some public keys."""
    found: dict[str, tuple[str | None, int]] = {}
    for chunk in chunked(keys):
        query = (
            select(Peer.public_key, PeerSession.endpoint, PeerSession.latest_handshake)
            .join(PeerSession, PeerSession.peer_id == Peer.id)
            .where(Peer.config_id == config_id, Peer.public_key.in_(chunk), PeerSession.node_id == node_id)
        )
        for key, endpoint, handshake in tx.connection.execute(query):
            found[key] = endpoint, handshake
    return found


class LastSession(NamedTuple):
    """What is kept of a session, as in `PeerSession`."""

    peer_id: str
    node_id: str
    endpoint: str | None
    latest_handshake: int
    rx: int
    tx: int
    called_from: str | None
    seen_at: float


# Of columns, and made once: for a page of peers, objects and a new statement take three times as long.
_OF_PEERS = select(*(getattr(PeerSession, name) for name in LastSession._fields)).where(
    among(PeerSession.peer_id, "peer_ids")
)


def arrived(
    tx: Tx, node_id: str, endpoints: Mapping[str, str], at: float, sources: Mapping[str, str] | None = None
) -> None:
    """Note that peers (by id) have just shaken hands with a node at these endpoints; its own report replaces this.

    `sources`: the floating addresses that they were called from, where it was one; that stays.
    """
    if not endpoints:
        return
    dialect = tx.session.get_bind().dialect.name
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(PeerSession)
    columns = ("endpoint", "latest_handshake", "seen_at", "called_from")
    statement = statement.on_conflict_do_update(
        index_elements=["peer_id", "node_id"], set_={name: statement.excluded[name] for name in columns}
    )
    before = latest(tx, endpoints)
    rows = [
        {
            "peer_id": peer_id,
            "node_id": node_id,
            "endpoint": endpoint,
            # Not before what others reported, whose clocks are known to a fraction of a second only.
            "latest_handshake": max(round(at), before[peer_id].latest_handshake if peer_id in before else 0),
            "rx": 0,
            "tx": 0,
            "seen_at": at,
            "called_from": (sources or {}).get(peer_id),
        }
        for peer_id, endpoint in endpoints.items()
    ]
    tx.session.execute(statement, rows)


class NewestSession(NamedTuple):
    """The newest session of a peer, which is a node's: where that has seen it, and when they last shook hands."""

    peer_id: str
    endpoint: str
    latest_handshake: int


def live_on(tx: Tx, node_id: str, config_id: str, since: float) -> list[tuple[str, str]]:
    """Return (peer id, endpoint) of peers whose newest session is this node's, with a handshake since `since`.

    A peer that has shaken hands elsewhere later has moved on, and is not this node's any more.
    """
    found = _newest_on(tx, node_id, config_id, PeerSession.latest_handshake >= since)
    return [(seen.peer_id, seen.endpoint) for seen in found]


def quiet_on(tx: Tx, node_id: str, config_id: str, since: float, until: float) -> list[NewestSession]:
    """Return the newest sessions of peers that are this node's, with the handshake since `since` and before `until`."""
    between = and_(PeerSession.latest_handshake >= since, PeerSession.latest_handshake < until)
    return _newest_on(tx, node_id, config_id, between)


def _newest_on(tx: Tx, node_id: str, config_id: str, shook_hands: ColumnElement[bool]) -> list[NewestSession]:
    elsewhere = aliased(PeerSession)
    later = or_(
        elsewhere.latest_handshake > PeerSession.latest_handshake,
        and_(elsewhere.latest_handshake == PeerSession.latest_handshake, elsewhere.seen_at > PeerSession.seen_at),
    )
    rows = tx.session.execute(
        select(PeerSession.peer_id, PeerSession.endpoint, PeerSession.latest_handshake)
        .where(
            _of_node(node_id, config_id),
            shook_hands,
            PeerSession.endpoint.is_not(None),
            _none(elsewhere, later),
        )
        .order_by(PeerSession.peer_id)
    ).all()
    return [NewestSession(peer_id, endpoint, at) for peer_id, endpoint, at in rows if endpoint]


def seen_at(tx: Tx, addresses: Collection[str], but: str, since: float) -> list[str]:
    """Return the names of peers whose newest session, since then, is seen at some addresses, of nodes other than `but`.

    All sessions are looked through.
    """
    if not addresses:
        return []
    later = aliased(PeerSession)
    hosts = [f"[{each}]:" if ":" in each else f"{each}:" for each in addresses]
    query = (
        select(Peer.name)
        .join(PeerSession, PeerSession.peer_id == Peer.id)
        .where(
            PeerSession.node_id != but,
            PeerSession.latest_handshake >= since,
            or_(*(PeerSession.endpoint.startswith(host, autoescape=True) for host in hosts)),
            _none(later, later.latest_handshake > PeerSession.latest_handshake),
        )
    )
    return list(tx.session.scalars(query.order_by(Peer.name)))


def kept_by(tx: Tx, node_id: str, config_id: str) -> set[str]:
    """Return the public keys of a config's peers that shook hands with a node, and with no other since."""
    elsewhere = aliased(PeerSession)
    since = and_(elsewhere.node_id != node_id, elsewhere.latest_handshake >= PeerSession.latest_handshake)
    key = select(Peer.public_key).where(Peer.id == PeerSession.peer_id).scalar_subquery()
    query = select(key).where(_of_node(node_id, config_id), PeerSession.latest_handshake > 0, _none(elsewhere, since))
    return set(tx.session.scalars(query))


def _of_node(node_id: str, config_id: str) -> ColumnElement[bool]:
    """Say which sessions are a node's, of a config's peers, so that nothing but the node's own is read.

    The peer is looked up for each of them: a join may be done from the other side, through all peers of the config,
    and is on a database without statistics.
    """
    config = select(Peer.config_id).where(Peer.id == PeerSession.peer_id).correlate(PeerSession).scalar_subquery()
    return and_(PeerSession.node_id == node_id, config == config_id)


def _none(elsewhere: type[PeerSession], found: ColumnElement[bool]) -> ColumnElement[bool]:
    """Say that a peer has no such session elsewhere. Counted: NOT EXISTS may be a join with all sessions that are."""
    others = select(func.count()).select_from(elsewhere).where(elsewhere.peer_id == PeerSession.peer_id, found)
    return others.correlate(PeerSession).scalar_subquery() == 0


def endpoints(tx: Tx, node_id: str, peer_ids: Collection[str]) -> dict[str, str]:
    """Return the endpoint that a node last reported, for each of the peers that it did report."""
    found: dict[str, str] = {}
    for chunk in chunked(peer_ids):
        rows = tx.session.execute(
            select(PeerSession.peer_id, PeerSession.endpoint).where(
                PeerSession.node_id == node_id, PeerSession.peer_id.in_(chunk)
            )
        ).all()
        found.update({peer_id: endpoint for peer_id, endpoint in rows if endpoint})
    return found


def latest(tx: Tx, peer_ids: Collection[str], on: Collection[str] | None = None) -> dict[str, LastSession]:
    """Return, for each peer that was ever seen, the session with the newest handshake, of all nodes or those `on`."""
    found: dict[str, LastSession] = {}
    for chunk in chunked(peer_ids):
        for row in tx.connection.execute(_OF_PEERS, {"peer_ids": chunk}).all():
            each = LastSession(*row)
            if on is not None and each.node_id not in on:
                continue
            best = found.get(each.peer_id)
            # Handshakes are in whole s: of two in the same one, that which was heard of later.
            if best is None or (each.latest_handshake, each.seen_at) > (best.latest_handshake, best.seen_at):
                found[each.peer_id] = each
    return found


def handshakes(tx: Tx, peer_id: str) -> dict[str, int]:
    """Return when each node (by id) that knows a peer last shook hands with it."""
    query = select(PeerSession.node_id, PeerSession.latest_handshake).where(PeerSession.peer_id == peer_id)
    return {row.node_id: row.latest_handshake for row in tx.connection.execute(query)}


def newest_report(tx: Tx) -> float:
    """Return when the newest report was written down, 0 if there is none."""
    return tx.session.scalar(select(func.max(PeerSession.seen_at))) or 0.0


def forget(tx: Tx, node_id: str, config_id: str) -> None:
    """Drop what a node reported of a config that it no longer carries."""
    gone = delete(PeerSession).where(_of_node(node_id, config_id))
    tx.session.execute(gone.execution_options(synchronize_session=False))


Key = tuple[str, str]


def older(tx: Tx, before: float, limit: int) -> list[Key]:
    """Return up to `limit` sessions, as (peer id, node id), last seen before a time of peers seen later elsewhere.

    The last that is known of a peer is not among them. All are looked through: call it where nobody waits to write.
    """
    query = select(PeerSession.peer_id, PeerSession.node_id).where(PeerSession.seen_at < before, _seen_later())
    return [(peer_id, node_id) for peer_id, node_id in tx.session.execute(query.limit(limit))]


def forget_older(tx: Tx, before: float, found: Collection[Key]) -> None:
    """Delete those of the sessions that `older` found that still are."""
    if found:
        of_these = tuple_(PeerSession.peer_id, PeerSession.node_id).in_(found)
        gone = delete(PeerSession).where(of_these, PeerSession.seen_at < before, _seen_later())
        tx.session.execute(gone.execution_options(synchronize_session=False))


def _seen_later() -> ColumnElement[bool]:
    later = aliased(PeerSession)
    return exists().where(later.peer_id == PeerSession.peer_id, later.seen_at > PeerSession.seen_at)

"""Reports of agents about their relays, written down; and which relays nobody needs.

The agent of the relaying node keeps them, and ends each at its time. Rows are the panel's copy, and what somebody asked
for that the agent has yet to do.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit, operations
from wgfleet.panel.services.fleet import relay_chains
from wgfleet.panel.services.moves import relays
from wgfleet.panel.services.moves.steps import NAMED
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import relays as relay_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.relays import RelayRow
from wgfleet.panel.store.tables import Config, Node, RelayedClient
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.addresses import address_of
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.relay import AllRelays, InterfaceRelays, Relayed, RelayedPeer

SAME_S = 2.0  # two times that differ by less are one: messages take a while


@dataclass(frozen=True, slots=True)
class RelayWish:
    """Until when a relay is to last, as somebody asked; `until` 0: no longer."""

    row_id: str
    interface: str
    public_key: str
    until: float


Unneeded = dict[str, list[str]]
"""Public keys of relays that are to end, by interface."""
Misled = dict[str, tuple[str, list[tuple[float, RelayedPeer]]]]
"""Relays that are to lead elsewhere, by interface: the config's id, for how many s each lasts, and where to."""


def wishes(tx: Tx, node_id: str) -> list[RelayWish]:
    """Return what a node is to be asked for."""
    return [
        RelayWish(row.id, row.config_name, row.public_key, row.wanted_ends_at)
        for row in relay_rows.listing(tx, node_id=node_id)
        if row.wanted_ends_at is not None
    ]


def record(tx: Tx, node_id: str, said: AllRelays, done: Collection[RelayWish] = ()) -> Unneeded:
    """Write down who is relayed by a node now, and that wishes have been done; return the relays that nobody needs."""
    node = node_rows.find(tx, node_id)
    if node is None:
        return {}
    known: dict[str, dict[str, RelayRow]] = defaultdict(dict)
    for row in relay_rows.listing(tx, node_id=node.id):
        known[row.config_id][row.public_key] = row
    fulfilled = {wish.row_id: wish.until for wish in done}
    unneeded: Unneeded = {}
    changed = False
    for interface, told in said.interfaces.items():
        config = config_rows.find(tx, str(told.config_id))
        if config is None:
            unneeded[interface] = [str(key) for key in told.peers]
            continue
        news, strays = _record_one(tx, node, config, told, known.pop(config.id, {}), fulfilled)
        changed |= news
        if strays:
            unneeded[interface] = strays
    for rows in known.values():
        _forget(tx, node, rows.values(), fulfilled)
        changed = True
    if changed:
        tx.wake(Topic.RELAYED, node.id)
    return unneeded


def _record_one(
    tx: Tx,
    node: Node,
    config: Config,
    told: InterfaceRelays,
    known: Mapping[str, RelayRow],
    fulfilled: Mapping[str, float],
) -> tuple[bool, list[str]]:
    """Record the relays of one config; return whether anything is new, and whom the node need not relay."""
    peers = relay_rows.peer_ids(tx, config.id, [str(key) for key in told.peers])
    now, changed = clock.now(), False
    begun: list[RelayedClient] = []
    for key, relayed in told.peers.items():
        if key not in peers:
            continue
        row, ends_at = known.get(key), now + relayed.left_s
        if row is None:
            begun.append(_new(config, node, peers[key][0], relayed, ends_at))
            continue
        values = _changes(row, relayed, ends_at, fulfilled)
        if values:
            relay_rows.change(tx, row.id, **values)
            changed = True
    if begun:
        relay_rows.add(tx, begun)
        names = dict(peers.values())
        _audit(tx, "relay_begun", config.id, config.name, node, [names[row.peer_id] for row in begun])
    gone = [row for key, row in known.items() if key not in told.peers]
    _forget(tx, node, gone, fulfilled)
    ids = {key: peer_id for key, (peer_id, _) in peers.items()}
    strays = [str(key) for key in told.peers if key not in peers]
    return bool(changed or begun or gone), strays + _not_hanging(tx, config, node, ids)


def _new(config: Config, node: Node, peer_id: str, relayed: Relayed, ends_at: float) -> RelayedClient:
    # The node's clock may be wrong, so what it says of the past is taken by how long ago it was.
    ago_s = max(0.0, relayed.ends_at - relayed.left_s - relayed.since)
    return RelayedClient(
        id=clock.new_id(),
        config_id=config.id,
        node_id=node.id,
        peer_id=peer_id,
        target=relayed.target,
        since=clock.now() - ago_s,
        ends_at=ends_at,
        wanted_ends_at=None,
    )


def _changes(row: RelayRow, relayed: Relayed, ends_at: float, fulfilled: Mapping[str, float]) -> dict[str, object]:
    values: dict[str, object] = {}
    if abs(ends_at - row.ends_at) > SAME_S:
        values["ends_at"] = ends_at
    if relayed.target != row.target:
        values["target"] = relayed.target
    # What was asked for since is another wish.
    if row.wanted_ends_at is not None and fulfilled.get(row.id) == row.wanted_ends_at:
        values["wanted_ends_at"] = None
    return values


def _forget(tx: Tx, node: Node, gone: Iterable[RelayRow], fulfilled: Mapping[str, float]) -> None:
    """Take out relays that have ended; the audit log says so of those that nobody asked to end."""
    rows = list(gone)
    relay_rows.remove(tx, [row.id for row in rows])
    by_themselves: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if fulfilled.get(row.id) != 0 and row.wanted_ends_at != 0:
            by_themselves[row.config_id, row.config_name].append(row.peer_name)
    for (config_id, config_name), names in by_themselves.items():
        _audit(tx, "relay_over", config_id, config_name, node, names)


def _audit(tx: Tx, action: str, config_id: str, config_name: str, node: Node, names: Sequence[str]) -> None:
    audit.record(
        tx, audit.PANEL, action, "config_node", operations.subject(config_id, node.id),
        config=config_name, node=node.name, peers=sorted(names)[:NAMED], count=len(names),
    )  # fmt: skip


def _not_hanging(tx: Tx, config: Config, node: Node, peer_ids: Mapping[str, str]) -> list[str]:
    """Return whom a node that serves the config again relays for nothing, of these peers by public key.

    Their packets are kept from a node that would answer them: a panel died between a call and its answer, or they came
    to another node by themselves. While peers are being moved it is not known yet who will need a relay.
    """
    assignment = assignment_rows.get(tx, config.id, node.id)
    serves = assignment is not None and assignment.phase == Phase.SERVING and assignment.health.in_use
    if not peer_ids or not serves or operation_rows.active_of(tx, config.id):
        return []
    used = relay_chains.in_use(tx, list(peer_ids.values()))
    return [key for key, peer_id in peer_ids.items() if (peer_id, node.id) not in used]


def misled(tx: Tx, node_id: str, said: AllRelays) -> Misled:
    """Return the relays of a node that lead to a port that their target has no more, or to one more relay.

    The former changes with the config's listen port, or that of a router in front of the target. The latter was begun
    while this node's agent did not answer: its clients need not depend on two machines any more.
    """
    at = node_rows.ids_by_address(tx)
    found: Misled = {}
    for interface, told in said.interfaces.items():
        config = config_rows.find(tx, str(told.config_id))
        if config is None:
            continue
        right = {
            target: relays.endpoint(tx, config, at[host], host)
            for target in {relayed.target for relayed in told.peers.values()}
            if (host := address_of(target)) in at
        }
        further = _relayed_further(tx, config, node_id, told, at)
        turned = [
            (relayed.left_s, RelayedPeer(key, relayed.endpoint, wanted))
            for key, relayed in told.peers.items()
            if (wanted := further.get(key) or right.get(relayed.target, relayed.target)) != relayed.target
        ]
        if turned:
            found[interface] = str(told.config_id), turned
    return found


def _relayed_further(
    tx: Tx, config: Config, node_id: str, told: InterfaceRelays, at: Mapping[str, str]
) -> dict[PublicKey, str]:
    """Return of the peers that a node relays to one that relays them again where their sessions are."""
    peers = relay_rows.peer_ids(tx, config.id, [str(key) for key in told.peers])
    ids = [peer_id for peer_id, _ in peers.values()]
    used, sessions = relay_chains.in_use(tx, ids), session_rows.latest(tx, ids)
    found: dict[PublicKey, str] = {}
    for key, relayed in told.peers.items():
        peer_id, _ = peers.get(key, ("", ""))
        via = at.get(address_of(relayed.target))
        if via is None or (peer_id, via) not in used or (serving := sessions[peer_id].node_id) == node_id:
            continue
        there = relays.address_of_node(node_rows.find(tx, serving), six=relayed.target.startswith("["))
        if there is not None:
            found[key] = relays.endpoint(tx, config, serving, there)
    return found

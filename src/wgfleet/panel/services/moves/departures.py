"""Departures: who has a live session on a node, and would be cut off if it left the config.

Whether a client can be called is known only of one that was called where it is now: a call tells, and moves it. So a
removal that cannot move somebody who is live ends without having cut off anybody; what earlier moves have shown is
known beforehand.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from wgfleet.panel import clock
from wgfleet.panel.domain import peer_counts
from wgfleet.panel.domain.moves import MoveState
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import peer_nodes
from wgfleet.panel.services.floating import brought
from wgfleet.panel.services.moves import relays
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import node_groups as node_group_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.operations import Tried
from wgfleet.panel.store.tables import Config, Node, NodeGroup
from wgfleet.protocol.addresses import split_endpoint
from wgfleet.protocol.features import Feature
from wgfleet.protocol.observed import LIVE_S
from wgfleet.protocol.reasons import Reason

NAMED = 100  # of those who may use no other node


class ClientReach(StrEnum):
    """How a client with a live session on a node can be had by another."""

    FLOATING = "floating"  # the node's floating address moves along
    RELAYED = "relayed"  # it hangs on a relay, which is turned
    ANSWERED = "answered"  # it answered the last call of another node, at the address that it has
    UNKNOWN = "unknown"  # nobody has called it there
    SILENT = "silent"  # it did not answer the last call there: behind NAT, or a firewall


@dataclass(frozen=True, slots=True)
class LiveClient:
    """A peer with a live session on a node, seen at `endpoint` (`ADDRESS:PORT`)."""

    peer_id: str
    name: str
    endpoint: str
    reach: ClientReach


@dataclass(frozen=True, slots=True)
class Departure:
    """What a node's leaving means now. `can_relay`: it can pass on the packets of clients that nobody else can call.

    `floats`: the config has floating addresses. `trouble`: why a provider would not bring those of the node to another
    one, as far as is known; None: nothing. `stranded`: who may use no other node of an independent config.
    """

    clients: Sequence[LiveClient]
    can_relay: bool
    floats: bool = False
    trouble: str | None = None
    stranded: peer_nodes.Stranded = peer_nodes.NOBODY

    def of(self, reach: ClientReach) -> list[LiveClient]:
        """Return the clients that can be had in one way."""
        return [client for client in self.clients if client.reach is reach]

    def counts(self) -> dict[ClientReach, int]:
        """Count the clients by how they can be had."""
        tally = Counter(client.reach for client in self.clients)
        return {reach: tally[reach] for reach in ClientReach}


def foresee(tx: Tx, config: Config, node: Node) -> Departure:
    """Say who would be called, or cut off, if a node left a config now; clients in the order of their names."""
    can_relay = node.connected and Feature.RELAY in node.agent_features
    if config.mode != configs.CLUSTER:
        return Departure((), can_relay, stranded=peer_nodes.stranded(tx, config, node, NAMED))
    live = dict(session_rows.live_on(tx, node.id, config.id, clock.steady() - LIVE_S))
    floating = floating_rows.of_config(tx, config.id)
    follows = any(row.holder_node_id == node.id for row in floating)
    tried = {} if follows else operation_rows.tried(tx, live)
    relaying = relays.relaying(tx, {split_endpoint(endpoint)[0] for endpoint in live.values()})
    clients = []
    for peer in peer_rows.by_ids(tx, live):
        host = split_endpoint(live[peer.id])[0]
        if follows:
            reach = ClientReach.FLOATING
        elif host in relaying:
            reach = ClientReach.RELAYED
        else:
            reach = _shown(host, tried.get(peer.id))
        if peer.admitted:
            clients.append(LiveClient(peer.id, peer.name, live[peer.id], reach))
    trouble = brought.trouble(tx, config.id, node.id)
    return Departure(sorted(clients, key=lambda client: client.name), can_relay, bool(floating), trouble)


def of_group(tx: Tx, group: NodeGroup) -> list[tuple[Config, Node, Departure]]:
    """Foresee the leaving of each node of a group from each config that it serves, in the order of a drain."""
    return [
        (config, node, foresee(tx, config, node))
        for node in node_group_rows.nodes(tx, group.id)
        for assignment, config in assignment_rows.of_node(tx, node.id)
        if assignment.phase == Phase.SERVING
    ]


def _shown(host: str, last: Tried | None) -> ClientReach:
    """Return what the last move of a client shows, if it was then at the address that it has now."""
    if last is None or split_endpoint(last.endpoint)[0] != host:
        return ClientReach.UNKNOWN
    if last.state is MoveState.MOVED and not last.attempts:
        return ClientReach.ANSWERED
    relayed = last.state is MoveState.MOVED and last.options.get("relay_s")
    silent = last.attempts and (last.state is MoveState.LEFT or relayed)
    return ClientReach.SILENT if silent else ClientReach.UNKNOWN


def check_stranded(found: peer_nodes.Stranded, config: Config) -> None:
    """Refuse a removal that leaves peers without any node that they may use."""
    if found.number:
        raise Conflict(
            Reason(
                "{peers} may use no other node of config {config!r}, and would be cut off: {names}; "
                "let them use others",
                peers=peer_counts.in_words(found.number),
                config=config.name,
                names=peer_counts.names_in_words(found.names, found.number),
            ),
            Hint(HintCode.FORCE),
        )


def check(found: Departure, config: Config, node: Node, *, relay_s: float) -> None:
    """Refuse a removal of a node that would cut off live clients of which that is known beforehand.

    So are those who come by an address that its provider does not bring anywhere, and those who may use no other node.
    """
    check_stranded(found.stranded, config)
    if found.trouble is not None:
        raise Conflict(
            Reason(
                "node {node!r} has floating addresses of config {config!r} that would stay with it: {trouble}",
                node=node.name,
                config=config.name,
                trouble=found.trouble,
            ),
            Hint(HintCode.FORCE),
        )
    silent = found.of(ClientReach.SILENT)
    if not silent or (relay_s and found.can_relay):
        return
    why = (
        Reason("; node {node!r} cannot relay them: its agent does not answer, or is too old", node=node.name)
        if relay_s
        else ""
    )
    raise Conflict(
        Reason(
            "without node {node!r} {peers} of config {config!r} would be cut off until they "
            "connect again, since no other node can call them: {names}{why}",
            node=node.name,
            peers=counted(len(silent)),
            config=config.name,
            names=peer_counts.names_in_words([client.name for client in silent]),
            why=why,
        ),
        *ways_out(config, node, floats=found.floats),
    )


def ways_out(config: Config, node: Node, *, floats: bool) -> tuple[Hint, ...]:
    """Name what keeps clients that nobody can call, or does without them. `floats`: it has floating addresses."""
    floating = () if floats else (Hint(HintCode.ADD_FLOATING, config=config.name),)
    return (Hint(HintCode.RELAY, config=config.name, node=node.name), *floating, Hint(HintCode.FORCE))


def counted(count: int) -> str:
    """Return a count of clients in words."""
    return Reason("1 live client") if count == 1 else Reason("{count} live clients", count=count)

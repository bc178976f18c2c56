"""Relays by hand: who hangs on which, ending them and prolonging them. What is asked for is rows; the agent does it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain import peer_counts
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, operations
from wgfleet.panel.services.fleet import relay_chains
from wgfleet.panel.services.moves.departures import counted
from wgfleet.panel.services.moves.steps import NAMED
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import relays as relay_rows
from wgfleet.panel.store.relays import RelayRow, RelayTally
from wgfleet.panel.store.tables import Config, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.addresses import split_endpoint
from wgfleet.protocol.observed import LIVE_S
from wgfleet.protocol.reasons import Reason
from wgfleet.protocol.relay import MAX_RELAY_S


@dataclass(frozen=True, slots=True)
class HangingClient:
    """A client that a node relays. `live`: it uses that now. `to`: the node that has it; None: not known any more."""

    row: RelayRow
    live: bool
    connected: bool
    to: Node | None


def listing(
    tx: Tx, config: Config | None = None, node: Node | None = None, after: str | None = None, limit: int | None = None
) -> list[HangingClient]:
    """Return who hangs on relays, of a config, a node, or all."""
    rows = relay_rows.listing(
        tx,
        config_id=None if config is None else config.id,
        node_id=None if node is None else node.id,
        after=after,
        limit=limit,
    )
    return _shown(tx, rows)


def tallies(tx: Tx, config: Config) -> list[RelayTally]:
    """Return how many of a config's clients hang on the relays of which node."""
    return relay_rows.tallies(tx, config_id=config.id)


def of_node(tx: Tx, node: Node, limit: Limit | None) -> list[RelayTally]:
    """Return how many clients hang on a node's relays, by config, of those within a caller's limit."""
    found = relay_rows.tallies(tx, node_ids=[node.id])
    return [each for each in found if limit is None or each.config_id in limit.configs]


def of_nodes(tx: Tx, node_ids: Collection[str]) -> dict[str, tuple[int, float]]:
    """Return of each of some nodes that relay anybody how many clients, of all configs, and until when."""
    found: dict[str, tuple[int, float]] = {}
    for each in relay_rows.tallies(tx, node_ids=node_ids):
        clients, ends_at = found.get(each.node_id, (0, 0.0))
        found[each.node_id] = clients + each.clients, max(ends_at, each.ends_at)
    return found


def chosen(tx: Tx, config: Config, node: Node, peer: str | None) -> list[HangingClient]:
    """Return who hangs on a node's relays of a config; with `peer`, by id or name, that one: `NotFound`."""
    rows = relay_rows.listing(tx, config_id=config.id, node_id=node.id)
    if peer is None:
        return _shown(tx, rows)
    rows = [row for row in rows if peer in {row.peer_id, row.peer_name}]
    if not rows:
        raise NotFound(
            Reason(
                "node {node!r} relays no peer {peer!r} of config {config!r}",
                node=node.name,
                peer=peer,
                config=config.name,
            ),
            Hint(HintCode.LIST_RELAYS, config=config.name, node=node.name),
            field="peer",
        )
    return _shown(tx, rows)


def _shown(tx: Tx, rows: Sequence[RelayRow]) -> list[HangingClient]:
    now, used = clock.now(), relay_chains.in_use(tx, [row.peer_id for row in rows], clock.steady() - LIVE_S)
    nodes: dict[str, Node | None] = {row.node_id: node_rows.find(tx, row.node_id) for row in rows}
    at = node_rows.ids_by_address(tx) if rows else {}
    found = []
    for row in rows:
        node = nodes[row.node_id]
        live = (row.peer_id, row.node_id) in used and row.ends_at > now
        target_id = at.get(split_endpoint(row.target)[0])
        if target_id is not None and target_id not in nodes:
            nodes[target_id] = node_rows.find(tx, target_id)
        found.append(HangingClient(row, live, node is not None and node.connected, nodes.get(target_id or "")))
    return found


def effects_of_end(tx: Tx, config: Config, node: Node, clients: Collection[HangingClient]) -> list[str]:
    """Say what the end of some relays means for those who hang on them; nothing where nobody would notice."""
    live = [client.row.peer_name for client in clients if client.live]
    if not live:
        return []
    who = Reason("{peers} ({names})", peers=counted(len(live)), names=peer_counts.names_in_words(live))
    if _serves(tx, config, node):
        return [
            Reason(
                "silent for up to 15 s, and then with their sessions on node {node!r}: {who}",
                who=who,
                node=node.name,
            )
        ]
    return [
        Reason(
            "cut off until they connect again, since they reach their nodes through {node!r} only: {who}",
            who=who,
            node=node.name,
        )
    ]


def _serves(tx: Tx, config: Config, node: Node) -> bool:
    assignment = assignment_rows.get(tx, config.id, node.id)
    return assignment is not None and assignment.phase == Phase.SERVING and assignment.health.in_use


def check_end(tx: Tx, config: Config, node: Node, clients: Collection[HangingClient]) -> None:
    """Refuse to end relays that keep live clients connected: those would be cut off."""
    live = [client.row.peer_name for client in clients if client.live]
    if live and not _serves(tx, config, node):
        raise Conflict(
            Reason(
                "{peers} of config {config!r} would be cut off until they connect again, since they "
                "reach their nodes through {node!r} only: {names}",
                peers=counted(len(live)),
                config=config.name,
                node=node.name,
                names=peer_counts.names_in_words(live),
            ),
            Hint(HintCode.WAIT_FOR_RELAYS, config=config.name, node=node.name),
            Hint(HintCode.FORCE),
        )


def end(tx: Tx, actor: str, config: Config, node: Node, peer: str | None, *, force: bool = False) -> list[str]:
    """Have a node's relays of a config end, or that of one peer; return the names of whose.

    Without `force`, `Conflict` where live clients would be cut off. The node does it when its agent answers.
    """
    clients = chosen(tx, config, node, peer)
    if not force:
        check_end(tx, config, node, clients)
    live = sorted(client.row.peer_name for client in clients if client.live)
    _ask(tx, actor, "relay_ended", config, node, clients, 0.0, force=force, live=live[:NAMED])
    return [client.row.peer_name for client in clients]


def prolong(tx: Tx, actor: str, config: Config, node: Node, peer: str | None, relay_s: float) -> list[str]:
    """Have a node relay a config's clients, or one peer, for `relay_s` from now; return the names of whom.

    Nobody's relay becomes shorter by that.
    """
    if not 0 < relay_s <= MAX_RELAY_S:
        raise Invalid(
            Reason("must be above 0 and at most {max_relay_s:.0f} s", max_relay_s=MAX_RELAY_S), field="relay_s"
        )
    clients, until = chosen(tx, config, node, peer), clock.now() + relay_s
    longer = [client.row.peer_name for client in clients if (client.row.wanted_ends_at or client.row.ends_at) > until]
    if longer:
        raise Conflict(
            Reason(
                "some relays have longer than that: {names}; none is made shorter, but it can be ended",
                names=peer_counts.names_in_words(longer),
            ),
            field="relay_s",
        )
    _ask(tx, actor, "relay_prolonged", config, node, clients, until, ends_at=until)
    return [client.row.peer_name for client in clients]


def _ask(
    tx: Tx,
    actor: str,
    action: str,
    config: Config,
    node: Node,
    clients: Collection[HangingClient],
    until: float,
    **details: object,
) -> None:
    if not clients:
        return
    relay_rows.want(tx, [client.row.id for client in clients], until)
    names = sorted(client.row.peer_name for client in clients)
    audit.record(
        tx, actor, action, "config_node", operations.subject(config.id, node.id),
        config=config.name, node=node.name, peers=names[:NAMED], count=len(names), **details,
    )  # fmt: skip
    tx.wake(Topic.RELAY, node.id)

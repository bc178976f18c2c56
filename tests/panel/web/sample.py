"""A fleet to look at: nodes that serve, one that is down, configs and peers with sessions, as rows, without agents."""

from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.dns.description import describe_plan
from wgfleet.panel.domain.dns.plan import address_records, plan
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services import configs, usage
from wgfleet.panel.services.dns import commands
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.fleet import assignments as assignment_service
from wgfleet.panel.services.fleet import endpoint_groups, loads, peers
from wgfleet.panel.services.fleet import nodes as node_service
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.floating.settings import FloatingSpec
from wgfleet.panel.services.usage import NodeBatch
from wgfleet.panel.store import assignments, nodes, relays, sessions
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.tables import Node, RelayedClient
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Load
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.usage import UsageBatch, UsageRow

MIB = 1024 * 1024
FLOATING = "203.0.113.50"


def make(panel: Panel, peers: int = 60) -> World:
    """Put a fleet into the rows of a panel."""
    world = World(panel.store, panel.vault)
    wg0, wg1 = world.config("wg0", pools=("10.8.0.0/16",)), world.config("office", pools=("10.9.0.0/24",))
    fra, par, ams = world.serving(wg0, "fra1", "par1", "ams1")
    world.assign(wg1, fra)
    world.sync(wg1, fra)
    made = world.peers(wg0, *(f"user-{number:03}" for number in range(peers)), "anna-phone", "<b>bold</b> & co")
    world.peers(wg1, "printer")
    now = clock.now()
    with panel.store.write() as tx:
        for node in (fra, par, ams):
            connected = node is not ams
            values = {
                "connected": connected,
                "last_seen_at": now - (3 if connected else 840),
                "agent_version": "0.2.0",
                "agent_features": list(Feature),
            }
            values["certificate_expires_at"] = now + 60 * 86400
            nodes.set_values(tx, node.id, {**values, "summary": "in sync" if connected else "no answer"})
        row = assignments.get(tx, wg0.id, ams.id)
        assert row is not None
        reason = "no answer at its public endpoint to 3 of 3 who look, for 14 minutes"
        assignments.applied(tx, row.id, health=Health.DOWN, health_since=now - 840, health_reason=reason)
        loads.report(tx, {fra.id: Load(0.42, 0.61, 0.27, 270e6), par.id: Load(0.08, 0.33, 0.12, 120e6)})
    at = clock.steady()
    with panel.store.write() as tx:
        for node, part in ((fra, made[::2]), (par, made[1:40:2])):
            seen = {
                peer.public_key: PeerStats(
                    latest_handshake=int(at) - 17 * number,
                    rx=number * 3 * MIB,
                    tx=number * 40 * MIB,
                    endpoint=f"198.51.100.{number}:{40000 + number}",
                )
                for number, peer in enumerate(part)
            }
            sessions.record(tx, [NodeSessions(node.id, wg0.id, seen)], at)
    return world


def publish(panel: Panel, world: World) -> None:
    """Give wg0 a name whose plan waits for approval, and an address that floats."""
    with panel.store.write() as tx:
        config = configs.get(tx, "wg0")
        spec = EndpointGroupSpec(
            "vpn.example.com",
            dns=DnsSpec("null", "example.com"),
            floating=FloatingSpec([FLOATING], "l2"),
        )
        endpoint_groups.put(tx, panel.vault, "user:admin", config, spec, panel.publisher.plugins)
        tx.flush()
        sync = commands.current(tx, "wg0")
        mark, names = "wgfleet:test", [f"192.0.2.{number}" for number in range(1, 7)]
        observed = address_records(names, 60, mark)
        found = plan(sync.name, observed, address_records(names[:1], 60, mark), mark)
        sync.plan = {**sync.plan, **describe_plan(found), "wanted": names[:1], "held": "approval"}
        sync.plan_id, sync.state, sync.published = found.id, SyncState.APPROVAL, names
        sync.error, sync.checked_at = "5 of 6 records would be deleted; approve the plan", clock.now()
    world.sync_all(config, *world_nodes(panel))


def make_for_pages(panel: Panel) -> None:
    """Put a fleet into the rows of which each page shows something: it is published, and a node was removed."""
    world = make(panel, peers=55)
    publish(panel, world)
    relay(panel, "user-000")
    with panel.store.read() as tx:
        office, fra = configs.get(tx, "office"), node_service.get(tx, "fra1")
    world.remove(office, fra, force=True)


def relay(panel: Panel, *names: str) -> None:
    """Have the node ams1, which is down, relay peers of wg0 to fra1."""
    with panel.store.write() as tx:
        config = configs.get(tx, "wg0")
        node, target = (node_service.get(tx, name) for name in ("ams1", "fra1"))
        at, now = f"{target.endpoint_addresses[0]}:{config.listen_port}", clock.now()
        found = {peer.name: peer.id for peer in peers.page(tx, config.id, None, 100)}
        relays.add(
            tx,
            [
                RelayedClient(
                    id=clock.new_id(), config_id=config.id, node_id=node.id, peer_id=found[name], target=at,
                    since=now - 600, ends_at=now + 86400, wanted_ends_at=None,
                )
                for name in names
            ],
        )  # fmt: skip


def world_nodes(panel: Panel) -> list[Node]:
    """Return the nodes of wg0."""
    with panel.store.read() as tx:
        return [each.node for each in assignment_service.listing(tx, configs.get(tx, "wg0").id)]


def use(panel: Panel, world: World) -> None:
    """Have the peers of wg0 use something at fra1: 3 MiB received and 30 sent in all."""
    with panel.store.read() as tx:
        config, node = configs.get(tx, "wg0"), node_service.get(tx, "fra1")
        found = peers.page(tx, config.id, None, 6)
    used = tuple(UsageRow(PublicKey(peer.public_key), 1, int(clock.now()), MIB // 2, 5 * MIB) for peer in found)
    batch = UsageBatch("e1", 1, clock.now(), {ConfigId(config.id): used})
    with world.store.write() as tx:
        usage.take(tx, [NodeBatch(node.id, batch)], clock.now())

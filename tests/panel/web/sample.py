"""A fleet to look at: nodes that serve, one that is down, configs and peers with sessions, as rows, without agents."""

from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services.fleet import loads
from wgfleet.panel.store import assignments, nodes, sessions
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.protocol.features import Feature
from wgfleet.protocol.messages import Load
from wgfleet.protocol.observed import PeerStats

MIB = 1024 * 1024


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

"""Observations of nodes, as the watch judges by them: what probes saw, and whether the agent is heard."""

from collections.abc import Mapping

from wgfleet.panel.domain.health.judge import PANEL, HealthRules, Observed
from wgfleet.panel.domain.health.public_endpoints import versions
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.knocks import Knocks
from wgfleet.panel.reconcile.probes import Probes
from wgfleet.panel.reconcile.sightings import Member
from wgfleet.panel.services.health import Probed
from wgfleet.protocol.features import Feature

START_S = 30.0  # for a panel that starts to reach the agents, of which there may be hundreds
_LOSS_SLOWS = 10  # a line over which half of the packets get lost may need six times as long to come back


class Observations:
    """Puts together what `probes` saw and what is heard on the `connections` (by node id)."""

    def __init__(
        self, rules: HealthRules, probes: Probes, connections: Mapping[str, AgentConnection], knocks: Knocks
    ) -> None:
        self._knocks = knocks
        self._rules = rules
        self._probes = probes
        self._connections = connections

    def of_all(self, probed: Mapping[Member, Probed], now: float, awake_at: float) -> dict[Member, Observed]:
        """Return what is known of each assignment. `awake_at`: since when this panel could hear anybody."""
        reached = self._reached(probed)
        return {member: self._of(member, each, reached, now, awake_at) for member, each in probed.items()}

    def looks(self, node_id: str) -> bool:
        """Tell whether a witness can be asked."""
        connection = self._connections.get(node_id)
        return connection is not None and connection.connected and Feature.WITNESS in connection.features

    def silent(self, node_ids: set[str]) -> set[str]:
        """Return those of some nodes whose agents are not heard."""
        connections = {node_id: self._connections.get(node_id) for node_id in node_ids}
        return {node_id for node_id, connection in connections.items() if connection is None or connection.silent}

    def _reached(self, probed: Mapping[Member, Probed]) -> frozenset[int]:
        """Return the IP versions by which the panel has just had an answer of any node."""
        found = [(member, each, self._probes.public_endpoints(member)) for member, each in probed.items()]
        if not any(endpoints and endpoints.trouble for _, _, endpoints in found):
            return frozenset()  # nobody asks
        answering: list[str] = []
        for member, each, endpoints in found:
            verdict = self._probes.seen.from_here(member)
            if endpoints is not None:
                answering += endpoints.answering
            elif verdict is not None and verdict.last_ok_at and not verdict.doubts:
                answering.append(each.endpoint)
        return versions(answering)

    def _of(self, member: Member, probed: Probed, reached: frozenset[int], now: float, awake_at: float) -> Observed:
        endpoints = self._probes.public_endpoints(member)
        connection = self._connections.get(probed.node_id)
        connected = connection is not None and connection.connected
        heard_at = awake_at if connection is None else max(connection.heard_at, awake_at)
        patience_s = self._rules.unmanaged_after_s * (1 + _LOSS_SLOWS * self._probes.seen.loss(PANEL, member))
        unheard = not connected and (connection is None or connection.last_seen_at is None)
        if unheard:
            patience_s = max(patience_s, START_S)
        missed = not connected and now - heard_at > patience_s
        from_here = self._probes.seen.from_here(member)
        last_ok_at = None if from_here is None else from_here.last_ok_at
        return Observed(
            node_id=probed.node_id,
            agent_connected=connected,
            verdicts=self._probes.seen.verdicts(member),
            fenced=probed.applied_generation >= probed.fence_generation,
            beside_panel=probed.beside_panel,
            domain=probed.domain,
            leaving=probed.leaving,
            agent_missed=missed,
            stands_still=self._knocks.stands_still(probed.node_id, last_ok_at, now),
            agent_unheard=unheard and not missed,
            unseen=self._probes.unsent.get(member, ""),
            partly=endpoints.trouble if endpoints else "",
            silent_addresses=endpoints.silent_addresses(reached) if endpoints else (),
        )

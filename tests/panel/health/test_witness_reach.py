"""A witness that reaches none of the nodes that others reach is named to people, and no more when it reaches one."""

import asyncio

import pytest

from tests.panel.conftest import one_database
from tests.panel.fleet.test_witnesses import witness_of
from tests.panel.health.test_monitor import RULES, Network, monitor_on, on_paper, state, until
from tests.panel.world import World
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services.fleet import witnesses
from wgfleet.probing.prober import ProbeOutcome
from wgfleet.protocol.messages import ProbeRequest, ProbeResult, ProbeTarget


class _Deaf(Network):
    """The line to the agent of a witness that no answer reaches."""

    deaf = True

    async def probe(
        self, asked: ProbeRequest | ProbeTarget, _timeout_s: float = 0.0, _notices: object = (), **_beside: str
    ) -> ProbeResult | ProbeOutcome:
        assert isinstance(asked, ProbeRequest)
        if not self.deaf:
            return await super().probe(asked)
        await asyncio.sleep(0)
        return ProbeResult(answered={}, unanswered=tuple(target.endpoint for target in asked.targets))


@one_database
def test_a_witness_that_reaches_nobody_is_told_and_takes_no_node_out_that_the_panel_misses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    found = world.serving(config, "fra1", "ams1")
    helper = witness_of(world)
    network, line = Network(), _Deaf()
    monitor = monitor_on(network, world, found, monkeypatch)
    monitor._probes._connections[helper.id] = line  # type: ignore[index]  # noqa: SLF001 - its own line
    for node in found:
        monitor._probes._connections[node.id] = Network()  # type: ignore[index]  # noqa: SLF001 - theirs are not cut

    def warning() -> str | None:
        with world.store.write() as tx:
            for each in witnesses.looking(tx):
                each.node.connected, each.node.agent_version = True, "1"
                each.node.agent_features = ["witness"]
            return witnesses.warnings(tx).get(helper.id)

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            told = await until(warning)
            assert "2 of wg0" in told
            assert "let UDP out of its machine" in told
            network.dead = {"192.0.2.1:51820"}
            await asyncio.sleep(5 * RULES.fresh_s)
            assert state(world, config, found[0]) is Health.SERVING
            line.deaf, network.dead = False, set()
            await until(lambda: warning() is None)
        finally:
            await watching_them.stop()

    on_paper(monkeypatch, watched)

"""After a restore, agents are known again that got another certificate since the copy was made."""

import asyncio

from tests.panel.agents.rotating import Fleet, fleet, quick, running, with_agents
from wgfleet.panel.domain.certificates import NO_KEY
from wgfleet.panel.services import incarnations
from wgfleet.panel.store import nodes as node_rows

__all__ = ["fleet", "quick"]


def test_an_agent_that_was_renewed_since_the_copy_is_known_by_the_ca_until_it_has_the_next_certificate(
    fleet: Fleet,
) -> None:
    async def test() -> None:
        with fleet.panel.store.write() as tx:  # as a copy from before its renewal has it
            node_rows.set_values(tx, fleet.node("fra1").id, {"agent_keys": ["of before"]})
            node_rows.set_values(tx, fleet.node("lon1").id, {"agent_keys": [NO_KEY]})
        async with running(fleet):
            await fleet.connected("ams1")
            await asyncio.sleep(0.3)
            assert not fleet.node("fra1").connected
        with fleet.panel.store.write() as tx:
            incarnations.restored(tx, "test")
        async with running(fleet):
            await fleet.connected("ams1", "fra1")
            await fleet.soon(lambda: all(len(fleet.node(name).agent_keys) == 1 for name in ("ams1", "fra1")))
            assert not fleet.node("lon1").connected, "it was revoked"

    with_agents(fleet, test)

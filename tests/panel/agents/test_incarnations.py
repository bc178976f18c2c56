"""A panel that agents refuse, since they obeyed a newer one: what it believes, and that a new start changes nothing."""

import asyncio
import base64
import json
import ssl

import pytest

from tests.panel.agents.conftest import NODE, ScriptedAgent
from tests.panel.world import World
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.services import incarnations
from wgfleet.panel.vault import Vault
from wgfleet.protocol.features import PANEL_HEADER
from wgfleet.protocol.panel_name import PanelName


def refusal(proof: str | None) -> tuple[int, bytes]:
    body = {"title": "an older panel", "status": 409, "detail": "it has obeyed start 9", "reason": "older_panel"}
    return 409, json.dumps(body | ({"proof": proof} if proof is not None else {})).encode()


def test_what_an_agent_shows_is_kept_until_it_obeys(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, world: World
) -> None:
    agent.refused = refusal("its proof")
    with world.store.write() as tx:
        name = incarnations.name(tx, world.vault, incarnations.begin(tx))

    async def connect() -> tuple[str, str | None]:
        client = AgentClient("127.0.0.1", agent.port, NODE, panel_context, name)
        connection = AgentConnection(NODE, client, world.store, lambda: None)
        connection.start(BackgroundTasks())
        try:
            async with asyncio.timeout(60):
                while not connection.older:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.02)
                return connection.trouble, connection.older_proof
        finally:
            await connection.close()

    trouble, proof = asyncio.run(connect())
    assert "has obeyed start 9" in trouble
    assert proof == "its proof"
    assert agent.headers[0][PANEL_HEADER] == str(name)


def test_only_a_panel_with_the_same_master_key_can_make_a_proof(world: World) -> None:
    with world.store.write() as tx:
        name = incarnations.name(tx, world.vault, incarnations.begin(tx))
        elsewhere = incarnations.name(tx, Vault([bytes(32)]), incarnations.begin(tx))
    assert PanelName.parse(str(name)) == name
    bare = PanelName(name.panel, name.number, name.id)
    assert incarnations.proven(world.vault, name.proof) == bare
    sealed_for_something_else = base64.urlsafe_b64encode(world.vault.seal(str(bare), "peers.private_key:1")).decode()
    altered = ("B" if name.proof[-8] == "A" else "A").join((name.proof[:-8], name.proof[-7:]))
    for forged in (None, "", "-", "ü", str(bare), altered, elsewhere.proof, sealed_for_something_else):
        assert incarnations.proven(world.vault, forged) is None


@pytest.mark.parametrize("text", [None, "", "p", "p 1", "p x id", "p ² id", "p 1 id proof more", "p 1 " + "i" * 1000])
def test_a_header_that_names_nobody_is_none(text: str | None) -> None:
    assert PanelName.parse(text) is None


def test_each_start_is_a_new_incarnation_but_one_that_is_superseded_stays_what_it_is(world: World) -> None:
    """Else an older panel that is restarted often enough would be the newest, and the nodes would obey it."""
    with world.store.write() as tx:
        first, second = incarnations.begin(tx), incarnations.begin(tx)
        assert second.number == first.number + 1
        incarnations.supersede(tx, second.number, "others are newer")
    with world.store.write() as tx:
        assert incarnations.begin(tx).id == second.id
        assert incarnations.superseded(tx) == "others are newer"
    with world.store.write() as tx:
        incarnations.obeyed_again(tx, second.number)
        assert incarnations.superseded(tx) is None
        third = incarnations.begin(tx)
        assert third.number == second.number + 1
        incarnations.supersede(tx, third.number, "others are newer")
    with world.store.write() as tx:
        incarnations.restored(tx, "test")
        fourth = incarnations.begin(tx)
        assert fourth.number > third.number + 1000
        assert incarnations.superseded(tx) is None

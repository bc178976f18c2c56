"""The CA is replaced: agents and panel always have one in common, whenever the panel is killed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.panel.agents.rotating import NAMES, Fleet, asks, fleet, quick, running, trusts_alone, with_agents
from tests.panel.authority import current
from wgfleet.panel import clock
from wgfleet.panel.agents.authorities import pem_of
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.authorities import AuthorityStep, Trust
from wgfleet.panel.services import certificates
from wgfleet.panel.services.fleet import authority_rotation, node_agents, nodes

__all__ = ["fleet", "quick"]


def test_agents_and_panel_have_the_new_ca_and_the_old_one_is_refused(fleet: Fleet) -> None:
    async def test() -> None:
        before = current(fleet.panel)
        stolen = fleet.file(before)
        async with running(fleet):
            await fleet.connected()
            assert await asks(fleet, "fra1", stolen, before.certificate_pem)
            async with (
                fleet.agents["fra1"].client(stolen) as thief,
                thief.stream("GET", "/v1/watch", extensions=fleet.agents["fra1"].name) as held,
            ):
                told = held.aiter_raw()
                await anext(told)
                fleet.rotate()
                await fleet.rotated()
                with pytest.raises(httpx.TransportError):
                    await to_the_end(told)
            now = current(fleet.panel)
            assert now.fingerprint != before.fingerprint
            assert all(trusts_alone(agent, now) for agent in fleet.agents.values())
            assert {node.trusts for node in fleet.nodes()} == {Trust.CURRENT}
            with fleet.panel.store.read() as tx:
                valid = certificates.page(tx, limit=1000, valid=True)
            assert {row.issuer for row in valid} == {now.name}
            both = before.certificate_pem + now.certificate_pem
            assert not await asks(fleet, "fra1", stolen, both)
            assert not await asks(fleet, "fra1", before.issue_panel_client(clock.now()), both)
            assert await asks(fleet, "fra1", fleet.file(now), now.certificate_pem)

    with_agents(fleet, test)


def test_nobody_is_disconnected_meanwhile(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[str] = []
    reported = node_agents.reported

    def watched(tx: object, node_id: str, *, connected: bool, **rest: object) -> None:
        if not connected:
            lost.append(f"{node_id}: {rest}")
        reported(tx, node_id, connected=connected, **rest)  # type: ignore[arg-type]

    async def test() -> None:
        async with running(fleet):
            await fleet.connected()
            monkeypatch.setattr(node_agents, "reported", watched)
            fleet.rotate()
            await fleet.rotated()
            assert lost == []

    with_agents(fleet, test)


async def to_the_end(lines: AsyncIterator[bytes]) -> None:
    async with asyncio.timeout(5):
        async for _ in lines:
            pass


class KilledError(BaseException):
    """Stands for the end of the panel."""


# Where a panel can be killed: before or after the nth call of one of its steps.
STEPS = (
    (AgentClient, "install_certificate", (1, 2, 3, 4), ("sqlite",)),
    (node_agents, "renewing", (2, 4), ("sqlite",)),
    (node_agents, "renewed", (2, 4), ("sqlite", "postgresql")),
    (authority_rotation, "advance", (1, 2), ("sqlite", "postgresql")),
)
BLOWS = [
    (database, owner, name, nth, when)
    for owner, name, times, databases in STEPS
    for nth in times
    for when in ("before", "after")
    for database in databases
]


@pytest.mark.parametrize(("database_url", "owner", "name", "nth", "when"), BLOWS, indirect=["database_url"])
def test_a_panel_that_is_killed_goes_on_where_it_was(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, nth: int, when: str
) -> None:
    dead, calls, loops = asyncio.Event(), 0, list[asyncio.AbstractEventLoop]()
    real = getattr(owner, name)

    def is_the_last() -> bool:
        nonlocal calls
        calls += 1
        return calls >= nth

    async def later(*args: object) -> None:
        if is_the_last():
            if when == "after" and calls == nth:
                await real(*args)
            dead.set()
            await asyncio.Event().wait()  # nothing more happens in a dead process
        await real(*args)

    def at_once(tx: object, *args: object) -> object:
        if is_the_last():
            loops[0].call_soon_threadsafe(dead.set)
            if when == "after" and calls == nth:
                return real(tx, *args)
            raise KilledError
        return real(tx, *args)

    async def test() -> None:
        loops.append(asyncio.get_running_loop())
        before = current(fleet.panel)
        monkeypatch.setattr(owner, name, later if owner is AgentClient else at_once)
        async with running(fleet):
            await fleet.connected()
            fleet.rotate()
            async with asyncio.timeout(20):
                await dead.wait()
            await asyncio.sleep(0.1)  # connections that are being opened would be left behind open
        monkeypatch.setattr(owner, name, real)
        async with running(fleet):
            await fleet.rotated()
        now = current(fleet.panel)
        assert now.fingerprint != before.fingerprint
        assert all(trusts_alone(agent, now) for agent in fleet.agents.values())

    with_agents(fleet, test, NAMES[:2])


@pytest.mark.parametrize("step", AuthorityStep)
def test_an_agent_that_enrolls_meanwhile_gets_what_the_step_asks_for(fleet: Fleet, step: AuthorityStep) -> None:
    fleet.rotate()
    if step is AuthorityStep.DROPPED:
        with fleet.panel.store.write() as tx:
            authority_rotation.advance(tx, fleet.panel.vault)
    state = fleet.state()
    trusts = state.trust_of_newcomers
    assert state.step is step
    if step is AuthorityStep.SPREAD:
        assert (trusts, state.issuer(trusts)) == (Trust.BOTH, state.current)
        assert state.given(trusts) == pem_of(state.trusted)
        assert state.newest is state.current
    else:
        assert (trusts, state.issuer(trusts)) == (Trust.NEXT, state.next)
        assert state.next is not None
        assert state.given(trusts) == state.next.certificate_pem
        assert state.newest is state.next


def test_a_deleted_node_that_never_heard_of_it_is_given_up(fleet: Fleet) -> None:
    async def test() -> None:
        async with running(fleet):
            await fleet.connected()
            await fleet.stop("lon1")
            await fleet.soon(lambda: not fleet.node("lon1").connected)
            with fleet.panel.store.write() as tx:
                nodes.delete(tx, "test", nodes.get(tx, "lon1"), force=True)
                assert [each.name for each in authority_rotation.departed_without(tx)] == ["lon1"]
            del fleet.agents["lon1"]
            fleet.rotate()
            await fleet.rotated()
            with fleet.panel.store.read() as tx:
                assert nodes.departed(tx) == []

    with_agents(fleet, test)

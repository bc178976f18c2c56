"""The CA is replaced: which agents are waited for, and how a node is left behind."""

import httpx
import pytest

from tests.panel.agents.rotating import NAMES, Fleet, fleet, quick, running, trusts_alone, waiting_for, with_agents
from tests.panel.authority import current
from tests.panel.conftest import one_database
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.panel import clock
from wgfleet.panel.api import monitoring
from wgfleet.panel.domain.authorities import AuthorityStep
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import certificates
from wgfleet.panel.services.fleet import nodes, revocations

__all__ = ["fleet", "quick"]


@one_database
def test_an_agent_that_is_away_is_waited_for_and_catches_up(fleet: Fleet) -> None:
    async def test() -> None:
        async with waiting_for(fleet, "lon1"):
            with pytest.raises(Conflict, match="it waits for lon1"):
                fleet.rotate()
            assert fleet.state().step is AuthorityStep.SPREAD
            await fleet.wake("lon1")
            await fleet.rotated()
            assert all(trusts_alone(agent, current(fleet.panel)) for agent in fleet.agents.values())

    with_agents(fleet, test)


@one_database
def test_an_agent_that_goes_away_between_the_steps_is_waited_for_again(fleet: Fleet) -> None:
    async def test() -> None:
        async with waiting_for(fleet, "lon1"):
            await fleet.stop("ams1")
            await fleet.wake("lon1")
            await fleet.soon(lambda: fleet.state().step is AuthorityStep.DROPPED and fleet.waits_for() == ["ams1"])
        async with running(fleet):
            await fleet.connected("fra1", "lon1")
            await fleet.wake("ams1")
            await fleet.rotated()
            assert all(trusts_alone(agent, current(fleet.panel)) for agent in fleet.agents.values())

    with_agents(fleet, test)


def test_an_agent_that_could_not_store_its_certificate_for_long_is_known_when_it_is_started_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        tried: list[str] = []
        real = StateDirectory.write_certificate

        def full(state: StateDirectory, **files: bytes) -> None:
            if state.root.name == "lon1":
                tried.append(state.root.name)
                raise OSError(28, "No space left on device")
            real(state, **files)

        async with running(fleet):
            await fleet.connected()
            with monkeypatch.context() as disk:
                disk.setattr(StateDirectory, "write_certificate", full)
                fleet.rotate()
                await fleet.soon(lambda: len(tried) >= 5)
                assert fleet.waits_for() == ["lon1"]
                await fleet.stop("lon1")
            await fleet.wake("lon1")
            await fleet.rotated()

    with_agents(fleet, test)


@one_database
def test_one_that_will_not_come_back_is_left_behind_by_revoking_its_certificate(fleet: Fleet) -> None:
    async def test() -> None:
        async with waiting_for(fleet, "lon1"):
            with fleet.panel.store.write() as tx:
                [row] = certificates.valid_of_node(tx, fleet.node("lon1").id)
                revocations.revoke(tx, "test", row)
            await fleet.rotated()

    with_agents(fleet, test)


def test_one_whose_certificate_has_expired_can_be_left_behind_as_well(fleet: Fleet) -> None:
    async def test() -> None:
        async with running(fleet):
            await fleet.connected()
            await fleet.stop("lon1")
            with fleet.panel.store.write() as tx:
                node = nodes.get(tx, "lon1")
                [row] = certificates.valid_of_node(tx, node.id)
                row.expires_at = node.certificate_expires_at = clock.now() - 1
            fleet.rotate()
            await fleet.soon(lambda: fleet.waits_for() == ["lon1"])
            with fleet.panel.store.write() as tx:
                [row] = certificates.valid_of_node(tx, fleet.node("lon1").id)
                assert "enroll again anyway" in revocations.ends(tx, row)
                revocations.revoke(tx, "test", row)
            await fleet.rotated()

    with_agents(fleet, test)


@one_database
def test_one_that_stands_still_is_said_after_a_time_and_without_names(
    fleet: Fleet, anonymous: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        fleet.rotate()
        assert fleet.waits_for() == sorted(NAMES)

    with_agents(fleet, test)
    assert "warnings" not in anonymous.get("/readyz").json()
    monkeypatch.setattr(monitoring, "HELD_UP_S", -1.0)
    [warning] = anonymous.get("/readyz").json()["warnings"]
    assert "the CA is being replaced" in warning
    assert not any(name in warning for name in NAMES)

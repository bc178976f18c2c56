"""Knocks: a machine whose programs stand still is told from one that is dead, by real connections on loopback."""

import asyncio
import socket
import ssl
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.panel.health.network import DEFAULTS, TICK, settled
from wgfleet.panel import clock
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.health.judge import Health, decide
from wgfleet.panel.reconcile.knocks import STALL_S, Knocks


class Knocked:
    """A connection of the panel's whose agent would listen at a port of this machine."""

    def __init__(self, port: int) -> None:
        self.client = AgentClient("127.0.0.1", port, "n", ssl.create_default_context())


async def knocked(port: int) -> tuple[bool, bool]:
    """Knock; return whether it may only stand still, just after its last answer and when that is long ago."""
    knocks = Knocks(cast("Any", {"n": Knocked(port)}))
    last_ok_at = clock.monotonic() - 0.01
    knocks.knock("n")
    await knocks.over()
    at = last_ok_at + STALL_S
    assert not knocks.stands_still("n", clock.monotonic(), at - 0.1), "it has answered since"
    assert not knocks.stands_still("n", None, at - 0.1), "it never answered"
    return knocks.stands_still("n", last_ok_at, at - 0.1), knocks.stands_still("n", last_ok_at, at)


def test_a_machine_that_takes_a_connection_though_nobody_accepts_it_is_given_time_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stalled:
        assert asyncio.run(knocked(stalled.getsockname()[1])) == (True, False)


def test_a_machine_that_refuses_it_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert asyncio.run(knocked(port)) == (False, False)


@pytest.mark.parametrize(("still", "state"), [(True, Health.SERVING), (False, Health.DOWN)])
def test_one_that_may_only_stand_still_is_left_in_use(*, still: bool, state: Health) -> None:
    network = settled(3, rules=DEFAULTS)
    before, dead = dict(network.standings), network.nodes[0]
    network.dead.add(dead)
    network.run(4 * TICK)
    seen = network.observed()
    seen[dead] = replace(seen[dead], stands_still=still)
    after = decide(seen, before, DEFAULTS, min_nodes=1, frozen=False, now=network.now)
    assert after.standings[dead].state is state

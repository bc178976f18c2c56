"""The contract of routing daemons: what each must do with what is on loopback, and what the agent learns of it.

Real ones, in two nodes of a lab beside the lab's router. Sockets where something else answers are in
tests/agent/test_control_sockets.py.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.routing_daemons import RoutingDaemon, RoutingDaemons
from wgfleet.lab import bird, routing
from wgfleet.lab import state as labs
from wgfleet.lab.hosts import Host
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ROUTED6_ADDRESSES, ROUTED_ADDRESSES, ROUTER
from wgfleet.lab.waiting import look_for, wait_for

SEEN_S = 60.0
VALID_S = 3
FAMILIES = pytest.mark.parametrize("address", [ROUTED_ADDRESSES[0], ROUTED6_ADDRESSES[0]])
pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", params=list(routing.DAEMONS))
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    routing.check_machine(request.param)
    with labs.temporary("daemons", 2, 0, split=True) as built:
        nodes = [built.host("node-1"), built.host("node-2")]
        routing.start_all(built.host(ROUTER), nodes, request.param)
        for each in nodes:
            wait_for(lambda each=each: fault(each).startswith("sessions"), lambda: fault(nodes[0]), within_s=SEEN_S)  # type: ignore[misc]
        yield built


@pytest.fixture
def node(lab: Lab) -> Iterator[Host]:
    host = lab.host("node-1")
    yield host
    wanted = ROUTED_ADDRESSES[0], ROUTED6_ADDRESSES[0]
    for times in range(3):
        for each, address in product((host, lab.host("node-2")), wanted):
            if times:  # a zebra that has just started may have missed that the address went
                each.run("ip", "addr", "add", address, "dev", "lo")
            each.run("ip", "addr", "flush", "dev", "lo", "to", address)
        if times == 2:
            start_again(host)
        if look_for(lambda: not any(known(lab, address) for address in wanted), within_s=SEEN_S / 2):
            return
    raise AssertionError("still announced")


def start_again(host: Host) -> None:
    """Have a daemon that was killed, or is, run and know what is on loopback now."""
    if daemons_run(host):
        routing.kill(host)
    host.run("rm", "-f", f"/{daemon(host).socket.relative_to(f'/proc/{host.pid}/root')}")
    routing.start(host)


def daemons_run(host: Host) -> bool:
    """Say whether all that a daemon consists of runs."""
    return fault(host).startswith("sessions")


def daemons(host: Host) -> RoutingDaemons:
    return RoutingDaemons(Path(f"/proc/{host.pid}/root"))


def daemon(host: Host) -> RoutingDaemon:
    (found,) = daemons(host).present()
    return found


def put(host: Host, address: str, valid_s: int = 600) -> None:
    """Do what the agent does: add the address, or prolong its time."""
    flags = ["noprefixroute", *(["nodad"] if ":" in address else [])]
    left = ["valid_lft", str(valid_s), "preferred_lft", "0" if ":" in address else str(valid_s)]
    host.run("ip", "addr", "replace", address, "dev", "lo", *left, *flags)


def known(lab: Lab, address: str) -> list[str]:
    """Return what the router knows of an address: by whom, and since when."""
    return [line for line in routing.routes(lab.host(ROUTER)).splitlines() if line.startswith(f"{address}/")]


def has_bfd(lab: Lab, host: Host) -> bool:
    """Say whether the router sees a host by BFD."""
    lines = bird.ask(lab.host(ROUTER), "show", "bfd", "sessions").splitlines()
    return any(line.split()[:1] == [host.address] and "Up" in line for line in lines)


def announces(host: Host, address: str) -> bool:
    """Ask about an address among all that routers lead to nodes, of both versions."""

    async def ask() -> bool:
        found = daemon(host)
        return address in await found.announced({*ROUTED_ADDRESSES, *ROUTED6_ADDRESSES}, await found.sessions())

    return asyncio.run(ask())


def claimant(host: Host, address: str) -> str | None:
    return asyncio.run(daemons(host).claimant(address))


def sessions(host: Host) -> list[str]:
    return asyncio.run(daemon(host).sessions())


def fault(host: Host) -> str:
    try:
        return f"sessions: {sessions(host)}"
    except KernelError as error:
        return str(error)


def wait_announced(lab: Lab, host: Host, address: str, prolong: Callable[[], object] = lambda: None) -> None:
    def look() -> bool:
        prolong()
        return bool(known(lab, address)) and announces(host, address)

    wait_for(look, lambda: f"{known(lab, address)}", within_s=SEEN_S)


@FAMILIES
def test_what_is_on_loopback_is_announced_until_its_time_is_over(lab: Lab, node: Host, address: str) -> None:
    (file,) = [node.directory / each.file for each in routing.DAEMONS.values() if each.is_set_up(node)]
    settings = file.read_bytes()
    assert not announces(node, address)
    wait_announced(lab, node, address, lambda: put(node, address, VALID_S))
    said = known(lab, address)
    for _ in range(10):
        put(node, address, VALID_S)  # as the agent does twice a second
    assert known(lab, address) == said
    wait_for(lambda: known(lab, address) == [] and not announces(node, address), "never withdrawn", within_s=SEEN_S)
    assert file.read_bytes() == settings


@FAMILIES
def test_a_router_says_who_else_has_an_address(lab: Lab, node: Host, address: str) -> None:
    assert claimant(node, address) is None
    put(lab.host("node-2"), address)
    wait_for(lambda: claimant(node, address), "nobody", within_s=SEEN_S)
    assert str(claimant(node, address)).startswith(f"another machine, says {daemon(node).name}'s ")
    assert not announces(node, address)
    put(node, address)
    wait_for(lambda: announces(node, address), "it is not announced beside the other one", within_s=SEEN_S)
    lab.host("node-2").run("ip", "addr", "flush", "dev", "lo", "to", address)
    wait_for(lambda: claimant(node, address) is None, "still the other one", within_s=SEEN_S)
    assert announces(node, address)


def test_one_that_hangs_is_an_error_and_goes_on(lab: Lab, node: Host) -> None:
    address = ROUTED_ADDRESSES[0]
    put(node, address)
    wait_announced(lab, node, address)
    routing.stop(node, signal.SIGSTOP)
    try:
        assert f"{daemon(node).name} does not answer" in fault(node)
    finally:
        routing.stop(node, signal.SIGCONT)
    wait_for(lambda: len(sessions(node)) == 2, lambda: fault(node), within_s=SEEN_S)
    wait_announced(lab, node, address)


def test_one_that_died_is_an_error_and_announces_again_when_it_is_started(lab: Lab, node: Host) -> None:
    address, later = ROUTED_ADDRESSES[0], ROUTED6_ADDRESSES[0]
    put(node, address)
    wait_announced(lab, node, address)
    routing.kill(node)
    wait_for(lambda: known(lab, address) == [], "the router does not notice", within_s=SEEN_S)
    assert f"{daemon(node).name} does not answer" in fault(node)
    put(node, later)
    start_again(node)
    for each in (address, later):
        wait_for(lambda each=each: bool(known(lab, each)), "not announced again", within_s=SEEN_S)  # type: ignore[misc]
        wait_announced(lab, node, each)
    assert len(sessions(node)) == 2


def unguarded(host: Host) -> set[str]:
    async def ask() -> set[str]:
        found = daemon(host)
        return await found.unguarded(await found.sessions())

    return asyncio.run(ask())


@pytest.mark.parametrize("lab", ["bird", "frr"], indirect=True)
def test_it_says_which_sessions_have_no_bfd(lab: Lab, node: Host) -> None:
    wait_for(lambda: has_bfd(lab, node) and not unguarded(node), lambda: f"{unguarded(node)}", within_s=SEEN_S)
    node.run(
        "nft", "add table inet no_bfd { chain input { type filter hook input priority 0; udp dport 3784 drop; }; }"
    )
    try:  # its sessions end with BFD, and come back without
        wait_for(lambda: len(unguarded(node)) == 2, lambda: f"{unguarded(node)}", within_s=SEEN_S)
        assert unguarded(node) == set(sessions(node))
    finally:
        node.run("nft", "delete table inet no_bfd")
    wait_for(lambda: len(sessions(node)) == 2 and not unguarded(node), lambda: fault(node), within_s=SEEN_S)


@pytest.mark.parametrize("lab", ["frr"], indirect=True)
def test_routers_drop_what_frr_announced_when_it_dies_without_bfd(lab: Lab, node: Host) -> None:
    address = ROUTED_ADDRESSES[0]
    _, bfdd, bgpd = routing.DAEMONS["frr"].processes
    put(node, address)
    wait_announced(lab, node, address)
    assert node.signal(signal.SIGKILL, bfdd)
    wait_for(lambda: not has_bfd(lab, node), "the router does not notice that BFD is gone", within_s=SEEN_S)
    wait_announced(lab, node, address)
    assert node.signal(signal.SIGKILL, bgpd)
    wait_for(lambda: known(lab, address) == [], "the router keeps it", within_s=SEEN_S)
    routing.start(node)
    wait_announced(lab, node, address)
    wait_for(lambda: has_bfd(lab, node), "BFD does not come back", within_s=SEEN_S)


@pytest.mark.parametrize("lab", ["frr"], indirect=True)
def test_what_asks_frr_cannot_configure_it(node: Host) -> None:
    node.run("vtysh", "-c", "configure terminal")
    with socket.socket(socket.AF_UNIX) as vty:
        vty.settimeout(SEEN_S)
        vty.connect(str(daemon(node).socket))
        vty.sendall(b"configure terminal\0")
        assert b"Unknown command" in vty.recv(1000)


@pytest.mark.parametrize("lab", ["exabgp"], indirect=True)
def test_the_process_of_exabgp_withdraws_what_went_while_it_was_dead(lab: Lab, node: Host) -> None:
    gone, stays = ROUTED_ADDRESSES[0], ROUTED6_ADDRESSES[0]
    for address in (gone, stays):
        put(node, address)
        wait_announced(lab, node, address)
    (process,) = node.signal(signal.SIGSTOP, "agent announce")
    node.run("ip", "addr", "flush", "dev", "lo", "to", gone)
    assert "exabgp does not answer" in fault(node)
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: known(lab, gone) == [], "never withdrawn", within_s=SEEN_S)
    wait_announced(lab, node, stays)

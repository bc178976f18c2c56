"""Routes to peers of other nodes on a machine that lacks something: IPv6, or for a moment files that it may open."""

import sys
from collections.abc import Callable

import pytest

from tests.agent.node import Host

pytestmark = pytest.mark.lab
HEAD = """
import asyncio
from wgfleet.agent.kernel import peer_routes
from wgfleet.agent.kernel.backbone_rules import BackboneNames
names = BackboneNames("wg0", 52820)
"""
CHANGE = """
wanted = {"fd08::3/128": "169.254.64.2", "10.8.0.3/32": "169.254.64.2", "fd08::4/128": "", "fd08::5/128": None}
asyncio.run(peer_routes.change(names, wanted))
print("10.8.0.3/32" in asyncio.run(peer_routes.networks(names)))
"""
# With `ipv6.disable=1` the kernel has no such family, as it has no DECnet: it shows the routes of all others then.
DECNET = 12
READ = f"""
asyncio.run(peer_routes.change(names, {{"10.8.0.3/32": "169.254.64.2"}}))
print(asyncio.run(peer_routes.networks(names, [{DECNET}])))
"""


# A peer moves from node 2 to node 3 while this process can open nothing, not even a socket.
MOVED = """
import resource
import time
from wgfleet.agent.interfaces.route_follower import RouteFollower
from wgfleet.agent.interfaces.whereabouts import Whereabouts
from wgfleet.protocol.backbone import Here, News
NETWORKS = ("10.8.0.3/32",)
where = Whereabouts(1, 1, lambda key, claimed: NETWORKS)
routes = RouteFollower(names, where, lambda: frozenset({2, 3}))

async def work():
    where.heard(2, News(1, 0, 1, (Here(bytes(32), 1, 0.0, NETWORKS),)), 1.0)
    await routes.follow()
    where.heard(3, News(1, 0, 1, (Here(bytes(32), 2, 0.0, NETWORKS),)), 2.0)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    await routes.follow()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        await routes.sweep()
        await asyncio.sleep(0.1)

asyncio.run(work())
"""


REMOVED = """
from pathlib import Path
from wgfleet.agent.kernel import backbone_links
from wgfleet.agent.kernel.machine import Machine
networks = [f"10.8.{number >> 8}.{number & 255}/32" for number in range(2000)]

async def change():
    while True:
        for target in ("", None):
            await peer_routes.change(names, dict.fromkeys(networks, target))

async def work():
    changing = asyncio.create_task(change())
    for _ in range(10):
        await backbone_links.remove(Machine("kernel", Path("/tmp")), names)
        await asyncio.sleep(0)
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)
    await backbone_links.remove(Machine("kernel", Path("/tmp")), names)
    print(await peer_routes.networks(names) or "none")

asyncio.run(work())
"""


@pytest.fixture
def host(make_host: Callable[[], Host]) -> Host:
    made = make_host()
    made.run("ip", "link", "add", "wgx52820", "type", "vxlan", "external", "dstport", "53820")
    made.run("ip", "link", "set", "wgx52820", "up")
    return made


def test_where_ipv6_is_disabled_by_sysctl_routes_of_ipv4_are_made(host: Host) -> None:
    host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    assert host.run(sys.executable, "-c", HEAD + CHANGE).strip() == "True"


def test_routes_of_another_family_are_not_taken_for_those_asked_for(host: Host) -> None:
    assert host.run(sys.executable, "-c", HEAD + READ).strip() == "set()"


def test_a_change_that_failed_is_made_up_for(host: Host) -> None:
    host.run(sys.executable, "-c", HEAD + MOVED)
    assert "dst 169.254.64.3" in host.run("ip", "route", "show", "table", "51952820")


def test_routes_that_change_meanwhile_hinder_no_removal(host: Host) -> None:
    assert host.run(sys.executable, "-c", HEAD + REMOVED).strip() == "none"

"""Routes to peers of other nodes on a machine that has no IPv6: those of IPv4 are made, and read, as ever."""

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

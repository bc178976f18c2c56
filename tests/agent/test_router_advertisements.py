"""A machine whose IPv6 default route comes from router advertisements keeps it when it begins to forward."""

import sys
from collections.abc import Callable

import pytest

from tests.agent.node import Host, Node
from tests.agent.test_push import applied
from tests.agent.values import settings, whole
from tests.waiting import eventually

pytestmark = pytest.mark.lab


def test_the_default_route_from_router_advertisements_stays(
    make_node: Callable[..., Node], make_host: Callable[[], Host]
) -> None:
    router, host = make_host(), make_host()
    host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(router.pid))
    for each in (router, host):
        for name in ("accept_dad=0", "autoconf=0", "accept_ra=1", "forwarding=0"):
            each.run("sysctl", "-qw", f"net.ipv6.conf.eth0.{name}")
        each.run("ip", "link", "set", "eth0", "up")
    router.spawn(sys.executable, "-m", "tests.agent.router", "eth0")

    def default() -> str:
        return host.run("ip", "-6", "route", "show", "default")

    eventually(lambda: "proto ra" in default(), 20)
    node = make_node(host=host)
    node.start()
    assert applied(node, whole(1, settings(addresses=("10.8.0.1/16", "fd00:8::1/64"), masquerade=True))).verified
    assert host.run("cat", "/proc/sys/net/ipv6/conf/all/forwarding").strip() == "1"
    assert "proto ra" in default()
    # Later advertisements count as well, as after a boot.
    host.run("ip", "-6", "route", "del", "default")
    eventually(lambda: "proto ra" in default(), 20)
    assert [line["links"] for line in node.log() if line["event"] == "router_advertisements.kept"] == [["eth0"]]


def test_a_link_that_accepts_no_router_advertisements_still_does_not(
    make_node: Callable[..., Node], make_host: Callable[[], Host]
) -> None:
    host = make_host()
    host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    host.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=0")
    node = make_node(host=host)
    node.start()
    assert applied(node, whole(1, settings(addresses=("10.8.0.1/16", "fd00:8::1/64"), masquerade=True))).verified
    assert host.run("cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").strip() == "0"
    assert host.run("cat", "/proc/sys/net/ipv6/conf/eth1/accept_ra").strip() == "2"

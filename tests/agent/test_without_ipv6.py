"""A machine without IPv6 serves everybody over IPv4, and says what is missing."""

import httpx
import msgspec
import pytest

from tests.agent.node import Node
from tests.agent.test_faults import status
from tests.agent.test_push import applied
from tests.agent.values import settings, whole
from tests.waiting import eventually
from wgfleet.protocol.diff import NO_IPV6, harms_no_user
from wgfleet.protocol.ids import Generation

pytestmark = pytest.mark.lab
DUAL = {
    "addresses": ("10.8.0.1/16", "fd00:8::1/64", "10.9.0.1/24"),
    "routes": ("10.77.0.0/16", "fd00:77::/64", "10.78.0.0/16"),
    "masquerade": True,
}


def disable(node: Node, *, wholly: bool) -> None:
    for scope in ("all", "default"):
        node.host.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
    if wholly:  # as a kernel that was booted with ipv6.disable=1 looks
        node.host.run("mount", "-t", "tmpfs", "tmpfs", "/proc/sys/net/ipv6")


@pytest.mark.parametrize("wholly", [False, True])
def test_ipv4_serves_where_ipv6_is_disabled(node: Node, wholly: bool) -> None:
    disable(node, wholly=wholly)
    done = applied(node, whole(1, settings(**DUAL)))  # type: ignore[arg-type]
    assert {each.field: each.observed for each in done.drift} == {
        "addresses.fd00:8::1/64": f"absent: {NO_IPV6}",
        "routes.fd00:77::/64": f"absent: {NO_IPV6}",
    }
    assert harms_no_user(done.drift)
    shown = node.host.run("ip", "-4", "addr", "show", "wg0")
    assert "UP" in shown
    assert "10.8.0.1/16" in shown
    assert "10.9.0.1/24" in shown
    routes = node.host.run("ip", "route")
    assert "10.77.0.0/16 dev wg0" in routes
    assert "10.78.0.0/16 dev wg0" in routes
    assert "ip saddr 10.8.0.0/16" in node.host.run("nft", "list", "ruleset")
    assert node.host.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"


def test_it_is_not_tried_again_and_again_and_is_back_when_ipv6_is(node: Node) -> None:
    disable(node, wholly=False)
    wanted = whole(1, settings(**DUAL))  # type: ignore[arg-type]
    applied(node, wanted)
    for _ in range(3):
        node.host.run("ip", "link", "add", "something", "type", "bridge")  # has the agent look at the links again
        node.host.run("ip", "link", "del", "something")
        eventually(lambda: "fields differ" in status(node).interfaces[0].summary)
    assert not [line for line in node.log() if line["event"] == "interface.repaired"]
    for scope in ("all", "default"):
        node.host.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=0")
    node.host.run("ip", "link", "set", "lo", "down")
    node.host.run("ip", "link", "set", "lo", "up")
    eventually(lambda: status(node).interfaces[0].drift == ())
    assert "fd00:8::1/64" in node.host.run("ip", "addr", "show", "wg0")


def test_an_address_that_the_kernel_refuses_costs_no_other(node: Node) -> None:
    wanted = whole(1, settings(addresses=("10.8.0.1/16", "0.0.0.1/8", "10.9.0.1/24"), routes=("10.77.0.0/16",)))
    answer = node.call("PUT", "/v1/wg/wg0", wanted)
    if answer.status_code == httpx.codes.OK:
        assert "10.9.0.1/24" in node.host.run("ip", "addr", "show", "wg0")
    again = msgspec.structs.replace(wanted, generation=Generation(2))
    node.call("PUT", "/v1/wg/wg0", again)
    assert "UP" in node.host.run("ip", "link", "show", "wg0")

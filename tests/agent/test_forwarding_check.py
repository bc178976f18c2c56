"""A node proves that users' packets get to the uplink and back, by sending one; or says why they do not."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Never, cast

import pytest

from tests.agent.node import Host, Node
from tests.agent.test_push import applied
from tests.agent.values import settings, whole
from tests.waiting import eventually
from wgfleet.agent.interfaces import forwarding_check
from wgfleet.agent.interfaces.forwarding_verdict import Evidence, verdict
from wgfleet.lab.scenarios import drain
from wgfleet.probing.tunnel import Tunnel
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.messages import ForwardingState
from wgfleet.protocol.packets import TCP, UDP, Flow, FlowReply, checksum, datagram, reply, syn

OK, FAILED, NOT_PROVEN = ForwardingState
ADDRESSES = ("10.8.0.1/16", "fd00:8::1/64")
# What no reading of nftables' rules shows to be surely wrong.
HIDDEN = """table ip hidden {
    chain through { type filter hook forward priority 0; iifname "wg0" meta mark != 0x7 drop; }
}"""

SILENT = """table inet silent {
    chain out { type filter hook output priority 0; drop; }
}"""


def said(node: Node) -> dict[int, tuple[str, str]]:
    (interface,) = node.call("GET", "/v1/status").json()["interfaces"]
    return {each["version"]: (each["state"], each["why"]) for each in interface["forwarding"]}


def eventually_says(node: Node, version: int, state: ForwardingState) -> str:
    return str(eventually(lambda: said(node).get(version, ("", ""))[0] == state and said(node)[version][1]))


def test_the_lab_counts_no_guest_of_the_agent_as_a_user() -> None:
    (guest, *_) = forwarding_check._from_the_end("10.8.0.1/16")  # noqa: SLF001 - whom the lab has to know
    networks = {"anna": "10.8.0.2/32", "site": "10.8.0.3/32 192.168.7.0/24", "probe": "(none)", "guest": f"{guest}/32"}
    told = "".join(f"{key}\t{each}\n" for key, each in networks.items())
    assert drain.users_among(told) == {"anna", "site"}


@pytest.fixture
def behind_router(make_node: Callable[..., Node], make_host: Callable[[], Host]) -> tuple[Node, Host]:
    """A node, and the router that is its way to the internet."""
    router, host = make_host(), make_host()
    router.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
    router.run("ip", "link", "add", "internet", "type", "veth", "peer", "name", "beyond")
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    for where, number in ((router, 9), (host, 1)):
        where.run("ip", "addr", "add", f"198.18.0.{number}/24", "dev", "eth0")
        where.run("ip", "addr", "add", f"2001:db8:18::{number}/64", "dev", "eth0", "nodad")
        where.run("ip", "link", "set", "eth0", "up")
    for link in ("internet", "beyond"):
        router.run("ip", "link", "set", link, "up")
    for option in ("-4", "-6"):
        router.run("ip", option, "route", "add", "default", "dev", "internet")
    host.run("ip", "route", "add", "default", "via", "198.18.0.9")
    host.run("ip", "-6", "route", "add", "default", "via", "2001:db8:18::9")
    node = make_node(host=host)
    node.start("--interval", "0.2")
    assert applied(node, whole(1, settings(addresses=ADDRESSES, masquerade=True, mtu=1420))).verified
    return node, router


@pytest.mark.lab
def test_a_node_proves_that_it_forwards_and_finds_out_when_it_does_not(behind_router: tuple[Node, Host]) -> None:
    node, router = behind_router
    for version in (4, 6):
        assert "the first router" in eventually_says(node, version, OK)
    assert len(node.host.run("wg", "show", "wg0", "peers").split()) == len(whole(1, settings()).peers)
    node.host.run("nft", "-f", "-", stdin=HIDDEN)  # no reading of rules says so
    assert "answers this machine, and no packet of a user's address" in eventually_says(node, 4, FAILED)
    node.host.run("nft", "delete", "table", "ip", "hidden")
    eventually_says(node, 4, OK)
    router.run("nft", "-f", "-", stdin=SILENT)
    node.host.run("ip", "link", "set", "eth0", "mtu", "1490")  # has the agent look again
    assert "answers this machine itself" in eventually_says(node, 4, NOT_PROVEN)


def evidence(**more: object) -> Evidence:
    return Evidence(InterfaceName("wg0"), 4, "10.8.0.0/16", masquerade=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (evidence(came_back=["the panel"], faults=["a chain drops"]), OK),
        (evidence(faults=["a chain drops"]), FAILED),
        (evidence(only_here=["the panel"], silent=["the first router"]), FAILED),
        (evidence(silent=["the panel"]), NOT_PROVEN),
        (evidence(), NOT_PROVEN),
        (evidence(obstacle="every address is in use"), NOT_PROVEN),
        (evidence(default_route=False, came_back=["the panel"]), FAILED),
        (Evidence(InterfaceName("wg0"), 6, "fd00::/64", masquerade=True, default_route=False), NOT_PROVEN),
        (Evidence(InterfaceName("wg0"), 4, "10.8.0.0/16", masquerade=False, only_here=["the panel"]), NOT_PROVEN),
    ],
)
def test_only_what_the_machine_itself_can_shows_what_users_cannot(found: Evidence, state: ForwardingState) -> None:
    assert verdict(found).state == state
    assert verdict(found).why


@pytest.mark.parametrize("addresses", [("10.8.255.254", "198.51.100.7"), ("fd00:8::fe", "2001:db8::7")])
def test_answers_to_a_packet_are_told_from_others(addresses: tuple[str, str]) -> None:
    source, target = map(ip_address, addresses)
    flow, back = Flow(source, target, UDP, 40000, 51820), Flow(target, source, UDP, 51820, 40000)
    sent = datagram(flow, b"asked")
    assert reply(datagram(back, b"answer") + bytes(9), flow) == FlowReply(payload=b"answer")
    assert reply(datagram(Flow(target, source, UDP, 51820, 40001), b"answer"), flow) is None
    assert reply(sent, flow) is None
    icmp, kind = (1, 11) if source.version == 4 else (58, 3)
    expired = datagram(Flow(ip_address(addresses[1]), source, icmp, kind << 8, 0), b"")
    head = expired[: len(expired) - 8]
    for told, expected in ((kind, FlowReply(expired=True)), (kind ^ 2, None)):
        body = bytes([told, 0]) + bytes(6) + sent[:48]
        size = len(body) + (20 if source.version == 4 else 0)
        at = 2 if source.version == 4 else 4
        assert reply(head[:at] + size.to_bytes(2) + head[at + 2 :] + body, flow) == expected
    first = syn(Flow(source, target, TCP, 40000, 443), 7)
    assert reply(first[:30], flow) is None


def test_nobody_listens_at_a_tunnel_when_its_questions_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding_check, "_TRIES_S", (0.0,))
    monkeypatch.setattr(forwarding_check, "_WAIT_S", 0.01)
    listening: list[str] = []

    class Silent:
        async def send(self, _: bytes) -> None:
            listening.append("asked")

        async def receive(self) -> Never:
            listening.append("begun")
            try:
                await asyncio.Event().wait()
                raise AssertionError
            finally:
                listening.append("ended")

    class Question:
        who = "the panel"

        async def packet(self, _: Flow) -> bytes:
            return b""

    flow = Flow(ip_address("10.8.0.9"), ip_address("198.51.100.7"), UDP, 40000, 51820)
    asked = forwarding_check.PutQuestion(cast("Any", Question()), flow)

    async def ask() -> list[str]:
        assert await forwarding_check.put(cast("Tunnel", Silent()), [asked]) == []
        return list(listening)

    assert "ended" in asyncio.run(ask())


def test_packets_have_the_checksums_of_the_standard() -> None:
    packet = datagram(Flow(ip_address("10.0.0.1"), ip_address("10.0.0.2"), UDP, 1, 2), b"abc")
    assert checksum(packet[:20]) == 0
    pseudo = packet[12:20] + bytes([0, UDP]) + (11).to_bytes(2)
    assert checksum(pseudo + packet[20:]) == 0

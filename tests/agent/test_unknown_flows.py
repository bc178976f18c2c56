"""TCP connections after a takeover: ended at once where another node's NAT began them, untouched where none does."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import pytest

from tests.agent.node import Host, Node
from tests.agent.segment import cable
from tests.agent.test_push import applied
from tests.agent.values import private_key, public_key, settings, whole
from tests.waiting import eventually
from wgfleet.protocol.backbone import Backbone, BackboneNode
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings, MuteSettings
from wgfleet.protocol.destinations import DestinationPlace, DestinationRule, RuleSet
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverPeer

pytestmark = pytest.mark.lab

#   client (10.8.0.2, fd08::2) ── a (198.18.0.1), b (198.18.0.2) ── world (198.18.0.9: 203.0.113.9, 2001:db8::9)
ADDRESSES = ("203.0.113.9", "2001:db8::9")
ECHO = """
import socket, threading, time
def serve(c):
    while data := c.recv(100):
        c.sendall(data)
        while data == b"d":
            c.sendall(data)
            time.sleep(0.05)
listening = socket.create_server(("::", 7777), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""
# Says "open" once all connections are, waits for a line, and says what became of each: an answer, a reset, or neither.
ASK = """
import socket, sys, time
opened = []
asks, *addresses = sys.argv[1:]
for ask in asks:
    for address in addresses:
        opened.append((ask, socket.create_connection((address, 7777), timeout=30)))
        opened[-1][1].sendall(ask.replace("k", "d").encode())
        assert opened[-1][1].recv(10)
print("open", flush=True)
sys.stdin.readline()
for ask, each in opened:
    try:
        if ask == "x":
            each.sendall(b"y")
            print("kept" if each.recv(10) == b"y" else "closed")
        until = time.monotonic() + 3 if ask == "k" else float("inf")
        while ask in "dk" and time.monotonic() < until:
            assert each.recv(10)
        if ask == "k":
            print("kept")
    except ConnectionResetError:
        print("reset")
    except TimeoutError:
        print("hangs")
"""
# What nearly every server is behind: only what began with a SYN gets in.
STATEFUL = """
table inet firewall {
chain in {
    type filter hook input priority filter; policy accept;
    meta l4proto tcp ct state invalid drop
    meta l4proto tcp ct state new tcp flags & (fin | syn | rst | ack) != syn drop
}
}
"""
# What a laptop has: what it did not ask for does not get in.
FIREWALL_OF_CLIENT = """
table inet firewall {
chain in {
    type filter hook input priority filter; policy drop;
    iifname "wg0" ct state invalid drop
    ct state established,related accept
    iifname { "lo", "eth0" } accept
}
}
"""


@dataclass
class Flows:
    """Two nodes, a client that is connected to the first, and a server on the internet."""

    a: Node
    b: Node
    client: Host
    world: Host
    key: PublicKey
    wanted: DesiredInterface
    on: dict[Host, InterfaceSettings] = field(default_factory=dict)

    def become_of(
        self,
        asks: str,
        *addresses: str,
        before: Callable[[], object] = bool,
        meanwhile: Callable[[], object] = bool,
        planned: bool = False,
    ) -> list[str]:
        """Have the other node take the client over, and say what became of connections to each address.

        There is one for each letter of `asks`: the program of `x` asks, those of `d` and `k` only receive, `k` for a
        while, `d` until that is over. `planned`: the node that has the client lives on.
        """
        command = self.client.command(sys.executable, "-c", ASK, asks, *addresses)
        asking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert asking.stdin is not None
        assert asking.stdout is not None
        assert asking.stdout.readline() == "open\n"
        before()
        lines = self.a.host.run("wg", "show", "wg0", "endpoints").splitlines()
        at = next(line.split("\t")[1] for line in lines if line.startswith(self.key))
        if not planned:
            self.a.host.run("ip", "link", "set", "eth0", "down")
        wanted = Takeover((TakeoverPeer(self.key, at),), 10.0, planned=planned)
        answer = self.b.call("POST", "/v1/wg/wg0/takeover", wanted)
        assert self.key in answer.text
        meanwhile()
        said, _ = asking.communicate("go\n", timeout=60)
        return said.split()


def build(make_host: Callable[[], Host], make_node: Callable[..., Node], *, masquerade: bool, loose: bool) -> Flows:
    switch, client, world = make_host(), make_host(), make_host()
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    a, b = make_node("node-a"), make_node("node-b")
    key = private_key()
    for number, host in ((1, a.host), (2, b.host), (3, client), (9, world)):
        cable(switch, host, number)
        host.run("ip", "-6", "addr", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
    world.run("ip", "addr", "add", "203.0.113.9/32", "dev", "eth0")
    world.run("nft", "-f", "-", stdin=STATEFUL)
    world.spawn(sys.executable, "-c", ECHO)
    mine = private_key()
    wanted = whole(
        1,
        msgspec.structs.replace(
            settings(addresses=("10.8.0.1/24", "fd08::1/64"), masquerade=masquerade),
            private_key=mine,
            mute=MuteSettings(("198.18.0.77:51820",), private_key()),
        ),
        {public_key(key): DesiredPeer(("10.8.0.2/32", "fd08::2/128"))},
    )
    for node in (a, b):
        node.host.run("ip", "route", "add", "203.0.113.0/24", "via", "198.18.0.9")
        node.start()
        if not loose:
            node.host.run("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")
        if not masquerade:
            node.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        assert applied(node, wanted).verified
    client.wireguard()
    client.run(
        *("wg", "setconf", "wg0", "/dev/stdin"),
        stdin=f"[Interface]\nPrivateKey = {key}\n[Peer]\nPublicKey = {public_key(mine)}\n"
        "AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 198.18.0.1:51820\nPersistentKeepalive = 1\n",
    )
    for address in ("10.8.0.2/24", "fd08::2/64"):
        client.run("ip", "addr", "add", address, "dev", "wg0", *(["nodad"] if ":" in address else []))
    client.run("ip", "link", "set", "wg0", "up")
    for address in ADDRESSES:
        client.run("ip", "-6" if ":" in address else "-4", "route", "add", address, "dev", "wg0")
    return Flows(a, b, client, world, public_key(key), wanted)


def link(flows: Flows, *sets: RuleSet) -> None:
    """Have the nodes linked by a backbone, and the client held to the first of some sets of rules."""
    held_to = sets[0].name if sets else ""
    flows.wanted = msgspec.structs.replace(
        flows.wanted,
        settings=msgspec.structs.replace(flows.wanted.settings, rule_sets=sets),
        peers={key: msgspec.structs.replace(each, rule_set=held_to) for key, each in flows.wanted.peers.items()},
    )
    links = [private_key(), private_key()]
    for number, node in enumerate((flows.a, flows.b), 1):
        other = 3 - number
        neighbor = BackboneNode(other, f"node-{other}", public_key(links[other - 1]), f"198.18.0.{other}:52820")
        backbone = Backbone(number, links[number - 1], 52820, 53820, (neighbor,))
        linked = msgspec.structs.replace(flows.wanted.settings, backbone=backbone)
        assert applied(node, whole(2, linked, flows.wanted.peers)).verified
        flows.on[node.host] = linked


def heard(node: Node) -> int:
    """Return of how many connections the other node told."""
    text = node.call("GET", "/v1/metrics").text
    found = re.search(r'^wgfleet_interface_backbone_flows{interface="wg0"} (\d+)$', text, re.MULTILINE)
    return 0 if found is None else int(found[1])


def reaches(flows: Flows, address: str) -> bool:
    return "1 received" in flows.client.run("ping", "-c1", "-W1", address, check=False)


def test_a_connection_that_another_nodes_nat_began_is_reset(
    make_host: Callable[[], Host], make_node: Callable[..., Node]
) -> None:
    flows = build(make_host, make_node, masquerade=True, loose=True)
    eventually(lambda: all(reaches(flows, address) for address in ADDRESSES))
    assert flows.become_of("x", *ADDRESSES) == ["reset", "reset"]
    assert all(reaches(flows, address) for address in ADDRESSES)
    (interface,) = flows.b.call("GET", "/v1/status").json()["interfaces"]
    assert interface["drift"] == []


def test_so_is_one_in_which_the_client_only_receives_where_the_nodes_have_a_backbone(
    make_host: Callable[[], Host], make_node: Callable[..., Node]
) -> None:
    flows = build(make_host, make_node, masquerade=True, loose=False)
    flows.client.run("nft", "-f", "-", stdin=FIREWALL_OF_CLIENT)
    link(flows)
    eventually(lambda: all(reaches(flows, address) for address in ADDRESSES))

    def told() -> None:
        eventually(lambda: heard(flows.b) == 2 * len(ADDRESSES))

    assert flows.become_of("xd", *ADDRESSES, before=told) == ["reset"] * 4


@pytest.mark.parametrize(("loose", "dies"), [(True, False), (False, False), (True, True)])
def test_connections_live_on_in_a_planned_move_as_long_as_the_node_before_where_there_is_a_backbone(
    make_host: Callable[[], Host], make_node: Callable[..., Node], *, loose: bool, dies: bool
) -> None:
    flows = build(make_host, make_node, masquerade=True, loose=loose)
    link(flows)
    for node in (flows.a, flows.b):
        node.host.run("sysctl", "-qw", f"net.ipv4.conf.all.rp_filter={1 if loose else 0}")
    eventually(lambda: all(reaches(flows, address) for address in ADDRESSES))

    def told() -> None:
        eventually(lambda: heard(flows.b) == 2 * len(ADDRESSES))

    def die() -> None:
        flows.a.host.run("ip", "link", "set", "eth0", "down")

    fates = flows.become_of(
        "xd" if dies else "xk", *ADDRESSES, before=told, planned=True, meanwhile=die if dies else bool
    )
    assert fates == (["reset"] if dies else ["kept"]) * 4


def test_rules_take_a_connection_that_goes_on_through_the_node_before_for_one_to_the_outside(
    make_host: Callable[[], Host], make_node: Callable[..., Node]
) -> None:
    flows = build(make_host, make_node, masquerade=True, loose=True)
    link(
        flows,
        RuleSet("no-users", (DestinationRule(allow=False, place=DestinationPlace.USERS),)),
        RuleSet("users-only", (DestinationRule(allow=False, place=DestinationPlace.OUTSIDE),)),
    )
    eventually(lambda: all(reaches(flows, address) for address in ADDRESSES))

    def told() -> None:
        eventually(lambda: heard(flows.b) == len(ADDRESSES))

    assert flows.become_of("x", *ADDRESSES, before=told, planned=True) == ["kept", "kept"]

    def shut() -> None:
        peers = {key: msgspec.structs.replace(each, rule_set="users-only") for key, each in flows.wanted.peers.items()}
        assert applied(flows.b, whole(3, flows.on[flows.b.host], peers)).verified

    flows.a, flows.b = flows.b, flows.a  # and back again, with new connections
    assert flows.become_of("x", *ADDRESSES, before=told, meanwhile=shut, planned=True) == ["reset", "reset"]


def test_a_connection_that_no_nat_changes_outlives_a_takeover(
    make_host: Callable[[], Host], make_node: Callable[..., Node]
) -> None:
    flows = build(make_host, make_node, masquerade=False, loose=True)
    route = ("ip", "route", "replace", "10.8.0.0/24", "via")
    flows.world.run(*route, "198.18.0.1")
    eventually(lambda: reaches(flows, ADDRESSES[0]))
    assert flows.become_of("x", ADDRESSES[0], meanwhile=lambda: flows.world.run(*route, "198.18.0.2")) == ["kept"]


WITHOUT_REJECT = """#!/bin/sh
# What a kernel without nft_reject says to it.
given=$(cat)
case $given in *reject*) echo "Error: Could not process rule: No such file or directory" >&2; exit 1 ;; esac
printf '%s\\n' "$given" | /run/nft "$@"
"""


def test_a_kernel_that_cannot_reject_masquerades_all_the_same(make_node: Callable[..., Node]) -> None:
    node = make_node()
    node.host.run(
        "sh", "-c", "cp $(command -v nft) /run/nft; cat > /run/wrapper; chmod +x /run/wrapper", stdin=WITHOUT_REJECT
    )
    node.host.run("sh", "-c", "mount --bind /run/wrapper $(readlink -f $(command -v nft))")
    node.start()
    wanted = whole(1, msgspec.structs.replace(settings(masquerade=True), mute=MuteSettings((), private_key())))
    assert applied(node, wanted).verified
    shown = node.host.run("/run/nft", "list", "ruleset")
    assert "masquerade" in shown
    assert "reject" not in shown
    assert [line["event"] for line in node.log()].count("unknown_flows.not_ended") == 1

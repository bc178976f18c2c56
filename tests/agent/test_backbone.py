"""Users of two nodes, and what is behind a router, reach each other over the backbone; nothing else does."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest

from tests.agent.node import Host, Node
from tests.agent.segment import cable
from tests.agent.test_push import applied
from tests.agent.values import private_key, public_key, settings, whole
from tests.waiting import eventually
from wgfleet.agent.kernel.backbone_rules import SAYS_HERE
from wgfleet.protocol.backbone import Backbone, BackboneNode, address
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.keys import PrivateKey
from wgfleet.protocol.reach import Reach

pytestmark = pytest.mark.lab

#   anna 10.8.0.2 ── a (198.18.0.1) ══ b (198.18.0.2) ── bert 10.8.0.3, a router for 192.168.7.0/24
PORT, TUNNEL_PORT = 52820, 53820
LAN = "192.168.7.0/24"
ECHO = f"""
import socket
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.bind(("203.0.113.9", {TUNNEL_PORT}))
while True:
    asked.sendto(*asked.recvfrom(99))
"""
ASK = f"""
import socket
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.bind(("10.8.0.2", {TUNNEL_PORT}))
asking.settimeout(1)
asking.sendto(b"x", ("203.0.113.9", {TUNNEL_PORT}))
assert asking.recv(9) == b"x"
"""


@dataclass
class Pair:
    a: Node
    b: Node
    anna: Host
    bert: Host
    switch: Host
    wanted: dict[str, DesiredInterface]
    keys: dict[str, PrivateKey]

    def push(self, node: Node, wanted: DesiredInterface) -> None:
        assert applied(node, wanted).generation == wanted.generation

    def connect(self, user: Host, name: str, node: int, *own: str) -> None:
        """Have a user's tunnel go to a node, by a new session."""
        user.run(
            *("wg", "setconf", "wg0", "/dev/stdin"),
            stdin=f"[Interface]\nPrivateKey = {self.keys[name]}\n[Peer]\nPublicKey = "
            f"{public_key(self.wanted['a'].settings.private_key)}\nAllowedIPs = 0.0.0.0/0, ::/0\n"
            f"Endpoint = 198.18.0.{node}:51820\nPersistentKeepalive = 1\n",
        )
        for each in own:
            user.run("ip", "addr", "add", each, "dev", "wg0")
        user.run("ip", "link", "set", "wg0", "up")
        for family in ("-4", "-6"):
            user.run("ip", family, "route", "replace", "default", "dev", "wg0")


def ping(host: Host, to: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = host.command("ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", *options, to)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def pings(host: Host, to: str, *options: str) -> bool:
    return ping(host, to, *options).returncode == 0


def own_rules(node: Node) -> list[str]:
    return [line for line in node.host.run("ip", "rule").splitlines() if line.startswith(("5189:", "5191:"))]


@pytest.fixture
def pair(make_host: Callable[[], Host], make_node: Callable[..., Node]) -> Pair:
    switch, anna, bert = (make_host() for _ in range(3))
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    a, b = make_node("node-a"), make_node("node-b")
    for number, host in enumerate((a.host, b.host), 1):
        cable(switch, host, number)
    key, links, keys = private_key(), [private_key(), private_key()], {"anna": private_key(), "bert": private_key()}
    peers = {
        public_key(keys["anna"]): DesiredPeer(("10.8.0.2/32", "fd08::2/128")),
        public_key(keys["bert"]): DesiredPeer(("10.8.0.3/32", "fd08::3/128", LAN)),
    }
    wanted = {}
    for number, node in enumerate((a, b), 1):
        other = 3 - number
        neighbour = BackboneNode(other, f"node-{other}", public_key(links[other - 1]), f"198.18.0.{other}:{PORT}")
        made = msgspec.structs.replace(
            settings(
                "wg0", key=key, addresses=("10.8.0.1/24", "fd08::1/64"), routes=(LAN,), masquerade=True, reach=Reach()
            ),
            backbone=Backbone(number, links[number - 1], PORT, TUNNEL_PORT, (neighbour,)),
        )
        wanted["ab"[number - 1]] = whole(1, made, peers)
        node.start("--interval", "1")
        assert applied(node, wanted["ab"[number - 1]]).verified
    made_pair = Pair(a, b, anna, bert, switch, wanted, keys)
    for number, (name, user, own) in enumerate(
        (("anna", anna, ("10.8.0.2/24", "fd08::2/64")), ("bert", bert, ("10.8.0.3/24", "fd08::3/64"))), 11
    ):
        cable(switch, user, number)
        user.wireguard()
        made_pair.connect(user, name, 1 if name == "anna" else 2, *own)
    bert.run("ip", "addr", "add", "192.168.7.1/32", "dev", "lo")
    return made_pair


def test_users_of_two_nodes_reach_each_other_and_a_site(pair: Pair) -> None:
    eventually(lambda: pings(pair.anna, "10.8.0.3"), 20)
    for to in ("fd08::3", "192.168.7.1"):
        assert pings(pair.anna, to), to
    assert pings(pair.bert, "fd08::2")
    assert pings(pair.bert, "10.8.0.2", "-I", "192.168.7.1"), "its address is not masqueraded"
    assert "Frag needed" in ping(pair.anna, "10.8.0.3", "-M", "do", "-s", "1392").stdout
    assert not pings(pair.anna, address(2)), "the links themselves are not the users'"
    # Moved: bert's tunnel goes to a now, and then anna's to b.
    pair.connect(pair.bert, "bert", 1)
    eventually(lambda: pings(pair.anna, "10.8.0.3"), 20)
    pair.connect(pair.anna, "anna", 2)
    eventually(lambda: pings(pair.bert, "10.8.0.2"), 20)
    pair.connect(pair.bert, "bert", 2)
    eventually(lambda: pings(pair.anna, "192.168.7.1"), 20)


def test_what_a_user_sends_arrives_while_the_next_node_has_his_route_already(pair: Pair) -> None:
    """A node draws what is for a user before it calls him; until he answers, what he sends comes from the other."""
    eventually(lambda: pings(pair.anna, "10.8.0.3"), 20)
    for words in ("add table ip seen", "add chain ip seen i { type filter hook input priority 0; }"):
        pair.bert.run("nft", words)
    pair.bert.run("nft", "add rule ip seen i iifname wg0 icmp type echo-request counter")
    (table,) = re.findall(r"iif(?:name)? wg0 lookup (\d+)", pair.b.host.run("ip", "rule"))
    pair.b.host.run("ip", "route", "del", "10.8.0.2/32", "table", table)
    assert not pings(pair.anna, "10.8.0.3"), "the answers go to a user who is not here yet"
    assert "counter packets 2 " in pair.bert.run("nft", "list", "table", "ip", "seen")


def test_what_the_node_that_draws_a_user_passes_on_goes_to_him_where_he_still_is(pair: Pair) -> None:
    """It has the others send there first, and calls him when they do; until then the node before has his session."""
    eventually(lambda: pings(pair.anna, "10.8.0.3"), 20)
    for node, other, words in ((pair.b, 1, ()), (pair.a, 2, ("ttl", str(SAYS_HERE)))):
        (table,) = re.findall(r"iif(?:name)? wg0 lookup (\d+)", node.host.run("ip", "rule"))
        assert not words or not pings(pair.anna, "10.8.0.3"), "each believes that the other has him"
        away = ("encap", "ip", "id", "1", "dst", address(other), *words, "dev", f"wgx{PORT}", "table", table)
        node.host.run("ip", "route", "replace", "10.8.0.3/32", *away)
    assert pings(pair.anna, "10.8.0.3")
    assert pings(pair.anna, "192.168.7.1")


def test_what_somebody_breaks_is_repaired_and_what_cannot_be_reached_is_said(pair: Pair) -> None:
    eventually(lambda: pings(pair.anna, "10.8.0.3"), 60)
    for damage in (
        ("ip", "link", "del", f"wgx{PORT}"),
        ("ip", "link", "del", f"wgb{PORT}"),
        ("ip", "rule", "del", "pref", "5191"),
        ("nft", "delete", "table", "inet", f"wgfleet_wgb{PORT}"),
    ):
        pair.a.host.run(*damage)
        eventually(lambda: f"wgfleet_wgb{PORT}" in pair.a.host.run("nft", "list", "tables"), 20)
        eventually(lambda: pings(pair.anna, "10.8.0.3"), 60)
    pair.b.host.run(
        "nft",
        "add table inet cut; add chain inet cut i { type filter hook input priority -400; };"
        f" add rule inet cut i udp dport {PORT} drop",
    )
    eventually(lambda: "Unreachable" in ping(pair.anna, "10.8.0.3").stdout, 20)

    def drift() -> dict[str, str]:
        (interface,) = pair.a.call("GET", "/v1/status").json()["interfaces"]
        return {each["field"]: each["observed"] for each in interface["drift"]}

    eventually(lambda: drift() == {"backbone.node-2": "not heard"}, 20)
    assert pings(pair.anna, "10.8.0.1"), "the way through the node itself is not concerned"
    pair.b.host.run("nft", "delete", "table", "inet", "cut")
    eventually(lambda: pings(pair.anna, "10.8.0.3") and not drift(), 20)
    # An agent that has ended leaves its kernel, which goes on.
    pair.b.stop(signal.SIGKILL)
    eventually(lambda: drift() == {"backbone.node-2": "not heard"}, 20)
    for _ in range(12):
        assert pings(pair.anna, "10.8.0.3", "-i", "0.3")
    pair.b.start("--interval", "1")
    eventually(lambda: pings(pair.anna, "10.8.0.3") and not drift(), 20)
    # Taken away: nothing is left of it.
    plain = msgspec.structs.replace(
        pair.wanted["a"],
        generation=Generation(2),
        settings=msgspec.structs.replace(pair.wanted["a"].settings, backbone=None),
    )
    pair.push(pair.a, plain)
    eventually(lambda: "wgb" not in pair.a.host.run("ip", "link") and not own_rules(pair.a), 20)
    assert f"wgfleet_wgb{PORT}" not in pair.a.host.run("nft", "list", "tables")


def test_an_agent_that_starts_again_interrupts_nobody(pair: Pair) -> None:
    """Its node, and the others, go on sending where users were until it has looked who is there, and they have said."""
    eventually(lambda: pings(pair.anna, "10.8.0.3"), 20)
    for node in (pair.a, pair.b):
        watching = pair.anna.command("ping", "-n", "-i", "0.02", "-w", "8", "10.8.0.3")
        with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as pinging:
            node.stop(signal.SIGKILL)
            node.start("--interval", "1")
            said, _ = pinging.communicate()
        sent, received = map(int, re.findall(r"(\d+) (?:packets transmitted|received)", said))
        assert "Unreachable" not in said
        assert sent - received <= 1  # the last one may be under way


def test_users_are_kept_apart_where_that_is_wanted(pair: Pair) -> None:
    pair.connect(pair.bert, "bert", 1)
    eventually(lambda: pings(pair.anna, "10.8.0.3"), 20)
    wanted = pair.wanted["a"]
    changed = msgspec.structs.replace(wanted.settings, reach=Reach(client_to_client=False), backbone=None)
    pair.push(pair.a, msgspec.structs.replace(wanted, generation=Generation(2), settings=changed))
    assert not pings(pair.anna, "10.8.0.3")
    assert not pings(pair.anna, "192.168.7.1")
    assert pings(pair.anna, "10.8.0.1")


def test_what_an_agent_left_that_was_killed_is_removed_whatever_of_it_is_there(pair: Pair) -> None:
    pair.a.stop(signal.SIGKILL)
    pair.a.host.run("ip", "link", "del", f"wgb{PORT}")  # as if it had been killed in between
    for path in pair.a.state.desired.iterdir():
        path.unlink()
    pair.a.start("--interval", "1")
    shown = "".join(pair.a.host.run(*each) for each in (("ip", "link"), ("ip", "rule"), ("nft", "list", "tables")))
    assert [each for each in (f"wgx{PORT}", f"wgfleet_wgb{PORT}") if each in shown] + own_rules(pair.a) == []


def test_links_that_a_killed_agent_had_not_marked_yet_are_its_own_and_others_are_not(pair: Pair) -> None:
    eventually(lambda: pings(pair.anna, "10.8.0.3"), 20)
    pair.a.stop(signal.SIGKILL)
    for name in (f"wgb{PORT}", f"wgx{PORT}"):
        pair.a.host.run("ip", "link", "set", name, "alias", "")
    pair.a.start("--interval", "1")
    eventually(lambda: pings(pair.anna, "10.8.0.3"), 20)
    for name in (f"wgb{PORT}", f"wgx{PORT}"):
        assert "alias wgfleet" in pair.a.host.run("ip", "link", "show", name)
    pair.a.host.run("sh", "-c", f"ip link del wgx{PORT}; ip link add wgx{PORT} type bridge")
    eventually(lambda: "did not make" in pair.a.call("GET", "/v1/status").text, 20)


def test_an_interface_of_users_may_be_called_as_one_of_a_backbone(make_node: Callable[..., Node]) -> None:
    node = make_node()
    node.start()
    applied(node, whole(1, settings("wgb52820", masquerade=True)), "wgb52820")
    index = node.host.run("sh", "-c", "ip -o link show wgb52820 | cut -d: -f1")
    node.stop(signal.SIGKILL)
    node.start()
    eventually(lambda: node.call("GET", "/v1/status").json()["interfaces"][0]["summary"] == "as wanted")
    assert node.host.run("sh", "-c", "ip -o link show wgb52820 | cut -d: -f1") == index


def test_the_port_of_the_links_is_that_of_this_machine_alone(pair: Pair) -> None:
    """Users' packets may have it: on their way out, or as the source that NAT leaves as it is."""
    for own in ("198.18.0.200/24", "203.0.113.9/32"):
        pair.switch.run("ip", "addr", "add", own, "dev", "br0")
    pair.a.host.run("ip", "route", "add", "203.0.113.9", "via", "198.18.0.200")
    pair.switch.spawn(sys.executable, "-c", ECHO)
    asked = pair.anna.command(sys.executable, "-c", ASK)

    def answered() -> bool:
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0

    eventually(answered, 20)

"""What users reach through a node: the uplink and each other; not the node, not other configs, not link-local."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import pytest

from tests.agent.node import PORT, Host, Node
from tests.agent.segment import cable
from tests.agent.test_push import applied
from tests.agent.values import private_key, public_key, settings, whole
from tests.lab.namespaces import MAKE_PRIVATE, UNSHARE_MOUNTS
from tests.waiting import eventually
from wgfleet.agent.kernel import nftables
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, delta_between
from wgfleet.protocol.destinations import DestinationPlace, DestinationRule, DestinationTransport, RuleSet
from wgfleet.protocol.ids import Generation, InterfaceName
from wgfleet.protocol.messages import AgentStatus
from wgfleet.protocol.reach import Reach

pytestmark = pytest.mark.lab

#   anna (wg0: 10.8.0.2, fd08::2) ─┐
#   bert (wg0: 10.8.0.3, fd08::3) ─┼─ node (198.18.0.1) ── world (198.18.0.9)
#   carl (wg1: 10.9.0.2, fd09::2) ─┘                       203.0.113.9, 2001:db8::9, what clouds serve
SERVE = """
import socket, sys
listening = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
while True:
    listening.accept()[0].close()
"""
CONNECT = """
import concurrent.futures, contextlib, socket, sys
def connect(address):
    with contextlib.suppress(OSError):
        socket.create_connection((address, int(sys.argv[1])), timeout=1.5)
        sys.stdout.write(f"{address} ")
with concurrent.futures.ThreadPoolExecutor(64) as threads:
    list(threads.map(connect, sys.argv[2:]))
"""
REFUSED = """
import concurrent.futures, socket, sys
def connect(address):
    try:
        socket.create_connection((address, int(sys.argv[1])), timeout=3).close()
    except ConnectionRefusedError:
        sys.stdout.write(f"{address} ")
    except OSError:
        pass
with concurrent.futures.ThreadPoolExecutor(64) as threads:
    list(threads.map(connect, sys.argv[2:]))
"""
UPLINK = ["203.0.113.9", "2001:db8::9"]
METADATA = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"]
OF_NODE = ["10.8.0.1", "fd08::1", "192.0.2.1", "2001:db8::1", "10.9.0.1"]
OF_CARL = ["10.9.0.2", "fd09::2"]
LAN, LAN6 = "192.168.7.0/24", "fd07::/64"  # behind anna
SERVICE = 7777


@dataclass
class Users:
    """A node with two configs, their users, and what is behind its uplink."""

    node: Node
    anna: Host
    bert: Host
    carl: Host
    wg0: DesiredInterface
    wg1: DesiredInterface

    def push(self, wanted: DesiredInterface, reach: Reach | None) -> DesiredInterface:
        changed = msgspec.structs.replace(
            wanted,
            generation=Generation(wanted.generation + 1),
            settings=msgspec.structs.replace(wanted.settings, reach=reach),
        )
        assert applied(self.node, changed, changed.settings.name).verified
        return changed


def reached(host: Host, addresses: Sequence[str], port: int = SERVICE) -> set[str]:
    """Return the addresses to which a TCP connection from the host comes about."""
    return set(host.run(sys.executable, "-c", CONNECT, str(port), *addresses).split())


def opens(host: Host, address: str, port: int = SERVICE) -> bool:
    return bool(reached(host, [address], port))


def pings(host: Host, address: str, source: str | None = None) -> bool:
    of = () if source is None else ("-I", source)
    return ", 0% packet loss" in host.run("ping", "-c", "2", "-i", "0.1", "-W", "1", *of, address, check=False)


def connected(switch: Host, user: Host, number: int, wanted: DesiredInterface, key: str, addresses: list[str]) -> None:
    """Have a user join the network that a config makes, with everything but the node itself routed into it."""
    cable(switch, user, number)
    user.wireguard()
    user.run(
        *("wg", "setconf", "wg0", "/dev/stdin"),
        stdin=f"[Interface]\nPrivateKey = {key}\n[Peer]\nPublicKey = {public_key(wanted.settings.private_key)}\n"
        f"AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 198.18.0.1:{wanted.settings.listen_port}\n",
    )
    for address in addresses:
        user.run("ip", "addr", "add", address, "dev", "wg0")
    user.run("ip", "link", "set", "wg0", "up")
    user.run("ip", "route", "add", "default", "dev", "wg0")
    user.run("ip", "-6", "route", "add", "default", "dev", "wg0")
    user.spawn(sys.executable, "-c", SERVE, str(SERVICE))


@pytest.fixture
def users(make_host: Callable[[], Host], make_node: Callable[..., Node]) -> Users:
    switch, world, anna, bert, carl = (make_host() for _ in range(5))
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    node = make_node()
    cable(switch, node.host, 1)
    cable(switch, world, 9)
    node.host.run("ip", "-6", "addr", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
    for address in ("203.0.113.9/24", "2001:db8::9/64", *METADATA):
        world.run("ip", "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
    node.host.run("ip", "addr", "add", "192.0.2.1/32", "dev", "eth0")
    node.host.run("ip", "route", "add", "default", "via", "198.18.0.9")
    for address in METADATA:
        node.host.run("ip", "route", "add", address, "dev", "eth0")
    for host in (world, node.host):
        host.spawn(sys.executable, "-c", SERVE, str(SERVICE))
    keys = {name: private_key() for name in ("anna", "bert", "carl")}
    wg0 = whole(
        1,
        settings("wg0", addresses=("10.8.0.1/24", "fd08::1/64"), routes=(LAN, LAN6), masquerade=True, reach=Reach()),
        {
            public_key(keys["anna"]): DesiredPeer(("10.8.0.2/32", "fd08::2/128", LAN, LAN6)),
            public_key(keys["bert"]): DesiredPeer(("10.8.0.3/32", "fd08::3/128")),
        },
    )
    wg1 = whole(
        1,
        msgspec.structs.replace(
            settings("wg1", config_id="config-2", addresses=("10.9.0.1/24", "fd09::1/64"), masquerade=True),
            listen_port=51821,
            reach=Reach(),
        ),
        {public_key(keys["carl"]): DesiredPeer(("10.9.0.2/32", "fd09::2/128"))},
    )
    node.start("--interval", "1")
    for wanted in (wg0, wg1):
        assert applied(node, wanted, wanted.settings.name).verified
    connected(switch, anna, 11, wg0, keys["anna"], ["10.8.0.2/24", "fd08::2/64"])
    connected(switch, bert, 12, wg0, keys["bert"], ["10.8.0.3/24", "fd08::3/64"])
    connected(switch, carl, 13, wg1, keys["carl"], ["10.9.0.2/24", "fd09::2/64"])
    made = Users(node, anna, bert, carl, wg0, wg1)
    eventually(lambda: pings(anna, "10.8.0.1") and pings(bert, "10.8.0.1") and pings(carl, "10.9.0.1"))
    return made


def test_users_reach_the_uplink_and_each_other_and_nothing_of_the_node(users: Users) -> None:
    users.push(users.wg0, None)  # without the filter, to know that all of this would be reached
    assert reached(users.anna, [*UPLINK, *METADATA, *OF_NODE, *OF_CARL]) == {*UPLINK, *METADATA, *OF_NODE, *OF_CARL}
    assert opens(users.anna, "10.8.0.1", PORT)
    users.push(msgspec.structs.replace(users.wg0, generation=Generation(2)), Reach())
    assert reached(users.anna, [*UPLINK, "10.8.0.3", "fd08::3"]) == {*UPLINK, "10.8.0.3", "fd08::3"}
    assert reached(users.anna, [*METADATA, *OF_NODE, *OF_CARL]) == set()
    assert not opens(users.anna, "10.8.0.1", PORT)
    for address in ("10.8.0.1", "fd08::1"):
        assert pings(users.anna, address), "whether the tunnel works is to be seen with ping"


def test_what_is_behind_a_router_reaches_the_uplink_by_the_nodes_own_address(users: Users) -> None:
    for machine in ("192.168.7.20/32", "fd07::20/128"):
        users.anna.run("ip", "addr", "add", machine, "dev", "lo")
    assert pings(users.anna, "203.0.113.9", source="192.168.7.20"), "the world has no way back to the LAN"
    assert pings(users.anna, "2001:db8::9", source="fd07::20")


def test_a_config_opens_what_its_settings_say(users: Users) -> None:
    ports = (f"tcp/{SERVICE}", "udp/53", f"tcp/{PORT}")
    opened = Reach(node_ports=ports, denied_networks=("203.0.113.0/28",), interfaces=(InterfaceName("wg1"),))
    users.push(users.wg0, opened)
    assert reached(users.anna, [*UPLINK, *METADATA, *OF_CARL, "10.8.0.1", "fd08::1"]) == {
        *("2001:db8::9", "10.8.0.1", "fd08::1"),
        *OF_CARL,
    }
    assert not opens(users.anna, "10.8.0.1", PORT), "no setting opens the agent to users"
    assert reached(users.carl, ["10.8.0.2", "fd08::2"]) == set(), "the other config opens nothing"


def drift(node: Node) -> set[str]:
    status = msgspec.json.decode(node.call("GET", "/v1/status").content, type=AgentStatus)
    return {each.field for interface in status.interfaces for each in interface.drift}


def test_a_filter_that_somebody_removes_is_drift_and_comes_back(users: Users) -> None:
    for damage in (
        ("nft", "flush", "ruleset"),
        ("nft", "flush", "chain", "inet", "wgfleet_wg0", "input"),
        ("nft", "add", "chain", "inet", "wgfleet_wg0", "more"),
        ("ip", "link", "set", "wg1", "group", "0"),
    ):
        users.node.host.run(*damage)
        eventually(lambda: not reached(users.anna, ["169.254.169.254", "10.8.0.1", "10.9.0.2"]))
        eventually(lambda: not drift(users.node))
        assert opens(users.anna, UPLINK[0])


def test_a_machine_without_the_names_of_protocols_takes_the_rules_and_says_the_same_of_them(users: Users) -> None:
    """As a bare Debian is, without netbase: nftables asks /etc/protocols, and refuses what is not there."""

    def without_names(*command: str, stdin: str = "") -> str:
        hide = "[ ! -e /etc/protocols ] || mount --bind /dev/null /etc/protocols"
        hidden = f'{MAKE_PRIVATE}; {hide}; exec "$@"'
        return users.node.host.run(*UNSHARE_MOUNTS, "sh", "-ec", hidden, "sh", *command, stdin=stdin)

    # An interface that the agent does not have: it would put its own rules back.
    opened = Reach(node_ports=("tcp/22", "udp/53"))
    wanted = msgspec.structs.replace(users.wg0.settings, name=InterfaceName("wg8"), reach=opened)
    text = nftables.rules(wanted, PORT)
    table = nftables.table_of(wanted.name)
    without_names("nft", "-f", "-", stdin=text)
    for run in (without_names, users.node.host.run):
        assert nftables.chains_of(run(*nftables.LIST, table)) == nftables.chains_of(text)
    users.node.host.run("nft", "delete", "table", "inet", table)


def test_rules_go_with_the_interface(users: Users) -> None:
    assert "wgfleet_wg1" in users.node.host.run("nft", "list", "tables")
    assert users.node.call("DELETE", "/v1/wg/wg1").status_code == 204
    assert "wgfleet_wg1" not in users.node.host.run("nft", "list", "tables")
    assert reached(users.anna, [*UPLINK, "10.8.0.3"]) == {*UPLINK, "10.8.0.3"}


def refused(host: Host, addresses: Sequence[str], port: int = SERVICE) -> set[str]:
    """Return the addresses from which the host hears at once that it may not connect."""
    return set(host.run(sys.executable, "-c", REFUSED, str(port), *addresses).split())


def ruled(users: Users, *sets: RuleSet, **of: str) -> None:
    """Have a node hold users to sets of rules, from the wholes that it has on: some by a delta."""
    names = dict(zip(("anna", "bert"), users.wg0.peers, strict=True))
    peers = {key: msgspec.structs.replace(peer, rule_set="") for key, peer in users.wg0.peers.items()}
    peers |= {names[name]: msgspec.structs.replace(peers[names[name]], rule_set=wanted) for name, wanted in of.items()}
    before, users.wg0 = (
        users.wg0,
        msgspec.structs.replace(
            users.wg0,
            generation=Generation(users.wg0.generation + 1),
            settings=msgspec.structs.replace(users.wg0.settings, rule_sets=sets),
            peers=peers,
        ),
    )
    assert applied(users.node, delta_between(before, users.wg0)).verified


WEB = RuleSet(
    "web",
    (DestinationRule(allow=True, networks=("203.0.113.0/24",), transport=DestinationTransport.TCP),),
    otherwise_allowed=False,
)
APART = RuleSet(
    "apart",
    (
        DestinationRule(allow=True, networks=("10.8.0.2/32",)),
        DestinationRule(allow=False, place=DestinationPlace.USERS),
        DestinationRule(
            allow=False,
            networks=("2001:db8::/32", "2001:db8::9/128"),
            ports=("7000-7999",),
            transport=DestinationTransport.TCP,
        ),
    ),
)
OTHERS = ["10.8.0.3", "fd08::3"]
ANYCAST = "fd08::"  # that of all routers of the network, and so of the node


def test_rules_refuse_at_once_what_they_deny_and_concern_nobody_else(users: Users) -> None:
    ruled(users, WEB, anna="web")
    assert reached(users.anna, [*UPLINK, *OTHERS]) == {"203.0.113.9"}
    assert refused(users.anna, [*UPLINK, *OTHERS]) == {"2001:db8::9", *OTHERS}
    # Of what it says by ICMP, the kernel says only some a second.
    eventually(lambda: "filtered" in users.anna.run("ping", "-c", "1", "-W", "1", "10.8.0.1", check=False))
    assert reached(users.bert, [*UPLINK, "10.8.0.2", "fd08::2"]) == {*UPLINK, "10.8.0.2", "fd08::2"}, (
        "answers are let through"
    )
    assert pings(users.bert, "10.8.0.1")


def test_the_first_rule_that_fits_decides_and_changes_count_at_once(users: Users) -> None:
    ruled(users, WEB, APART, bert="apart")
    assert reached(users.bert, [*UPLINK, "10.8.0.2", "fd08::2"]) == {"203.0.113.9", "10.8.0.2"}
    assert pings(users.bert, "2001:db8::9"), "of that network only some ports"
    ruled(users, WEB, APART, bert="apart", anna="web")
    assert reached(users.anna, [*UPLINK, *OTHERS]) == {"203.0.113.9"}
    assert "10.8.0.2" in reached(users.bert, ["10.8.0.2", "fd08::2"])
    # The sets change, and with them what peers are held to.
    ruled(users, msgspec.structs.replace(WEB, otherwise_allowed=True), anna="web", bert="apart")
    assert reached(users.anna, [*UPLINK, *OTHERS]) == {*UPLINK, *OTHERS}
    assert reached(users.bert, [*UPLINK, "10.8.0.2"]) == set(), "its set is not there: nothing is let through"
    ruled(users)
    assert reached(users.bert, UPLINK) == set(UPLINK)
    assert "wgfleetrules_wg0" not in users.node.host.run("nft", "list", "tables")


def test_rules_for_the_node_itself_and_what_is_outside(users: Users) -> None:
    users.wg0 = users.push(users.wg0, Reach(node_ports=(f"tcp/{SERVICE}",)))
    ruled(users, RuleSet("inside", (DestinationRule(allow=False, place=DestinationPlace.OUTSIDE),)), anna="inside")
    assert reached(users.anna, [*UPLINK, *OTHERS, "10.8.0.1"]) == {*OTHERS, "10.8.0.1"}
    every = ["10.8.0.1", ANYCAST]
    assert [pings(users.anna, each) for each in every] == [True] * 2
    ruled(users, RuleSet("away", (DestinationRule(allow=False, place=DestinationPlace.NODE),)), anna="away")
    assert [pings(users.anna, each) for each in every] == [False] * 2
    ruled(
        users,
        RuleSet(
            "away", (DestinationRule(allow=False, place=DestinationPlace.NODE, transport=DestinationTransport.TCP),)
        ),
        anna="away",
    )
    assert reached(users.anna, [*UPLINK, *OTHERS, "10.8.0.1"]) == {*UPLINK, *OTHERS}
    assert pings(users.anna, "10.8.0.1")


def test_rules_that_somebody_removes_are_drift_and_come_back_also_for_a_new_agent(users: Users) -> None:
    ruled(users, WEB, anna="web")
    for damage in (("nft", "flush", "ruleset"), ("nft", "flush", "chain", "inet", "wgfleetrules_wg0", "set_0")):
        users.node.stop()
        users.node.host.run(*damage)
        users.node.start("--interval", "1")
        eventually(lambda: refused(users.anna, ["10.8.0.3"]) and not drift(users.node))
        assert opens(users.anna, UPLINK[0])
    users.node.host.run("nft", "delete", "table", "inet", "wgfleetrules_wg0")
    eventually(lambda: refused(users.anna, ["10.8.0.3"]))
    users.node.stop()
    assert refused(users.anna, ["10.8.0.3"]), "rules go on without the agent"

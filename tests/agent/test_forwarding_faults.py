"""A node that has a way out, but does not let users' packets through, says so, and what to type."""

from collections.abc import Callable

import pytest

from tests.agent.node import Host, Node
from tests.agent.segment import drift
from tests.agent.test_leaving import status
from tests.agent.test_push import applied
from tests.agent.values import settings, whole
from tests.waiting import eventually
from wgfleet.protocol.diff import Drift, harms_no_user

STATEFUL = "ct state established,related accept"
BASE = "type filter hook forward priority filter"
# As docker, ufw, firewalld and an administrator make them; each with what the agent is to say.
FIREWALLS = {
    "docker": (
        f"""table ip filter {{
            chain DOCKER-USER {{ counter; return; }}
            chain DOCKER-FORWARD {{ oifname "docker0" {STATEFUL}; iifname "docker0" accept; }}
            chain FORWARD {{ {BASE}; policy drop; jump DOCKER-USER; jump DOCKER-FORWARD; }}
        }}""",
        "iptables -I DOCKER-USER -i wg0 -o eth0 -j ACCEPT",
    ),
    "ufw": (
        f"""table ip filter {{
            chain ufw-user-forward {{ }}
            chain ufw-before-forward {{ {STATEFUL}; ip protocol icmp icmp type echo-request accept;
                jump ufw-user-forward; }}
            chain FORWARD {{ {BASE}; policy drop; jump ufw-before-forward; }}
        }}""",
        "ufw route allow in on wg0 out on eth0",
    ),
    "firewalld": (
        f"""table inet firewalld {{
            chain filter_FWD_public {{ meta l4proto {{ icmp, ipv6-icmp }} accept; reject with icmpx admin-prohibited; }}
            chain filter_FORWARD_ZONES {{ iifname "eth0" goto filter_FWD_public; goto filter_FWD_public; }}
            chain filter_FORWARD {{ type filter hook forward priority filter + 10; policy accept; {STATEFUL};
                ct status dnat accept; iifname "lo" accept; jump filter_FORWARD_ZONES; ct state invalid drop;
                reject with icmpx admin-prohibited; }}
        }}""",
        "firewall-cmd --permanent --zone=trusted --add-interface=wg0",
    ),
    "answers": (
        f"""table inet own {{ chain through {{ {BASE}; policy drop; iifname "wg0" accept; }}
        }}""",
        "ct state established,related accept",
    ),
}
# Chains that let some of users' packets pass, or have what cannot be judged.
OPEN = (
    f'iifname "wg*" accept; {STATEFUL}',
    f"ip saddr 10.0.0.0/8 oifname {{ eth0, eth1 }} accept; {STATEFUL}",
    f"udp dport 53 accept; tcp dport 443 accept; {STATEFUL}",
    f"limit rate 5/second accept; {STATEFUL}",
    f"meta l4proto tcp accept; {STATEFUL}",
)
DORMANT = f"table inet resting {{ flags dormant; chain through {{ {BASE}; policy drop;\n}}\n}}"


@pytest.fixture
def routed(make_node: Callable[..., Node], make_host: Callable[[], Host]) -> Node:
    """A node with a default route, which serves users."""
    host = make_host()
    host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far")
    for link in ("eth0", "far"):
        host.run("ip", "link", "set", link, "up")
    host.run("ip", "addr", "add", "198.18.0.1/24", "dev", "eth0")
    host.run("ip", "route", "add", "default", "via", "198.18.0.9")
    node = make_node(host=host)
    node.start("--interval", "0.2")
    assert applied(node, whole(1, settings(addresses=("10.8.0.1/16",), masquerade=True, mtu=1420))).verified
    return node


@pytest.mark.lab
def test_firewalls_that_drop_are_found_and_named(routed: Node) -> None:
    for text, way_out in FIREWALLS.values():
        table = text.split()[1:3]
        routed.host.run("nft", "-f", "-", stdin=text)
        said = eventually(lambda: drift(routed).get("forwarding.ipv4"))
        assert f"of table {' '.join(table)} drops" in said
        assert way_out in said
        code, seen = status(routed)
        assert (code, any(way_out in each for each in seen["wrong"])) == (1, True), "nor does it take a panel to see it"
        if table[1] == "own":  # the command does what it says
            routed.host.run("sh", "-ec", said.partition("type: ")[2])
        else:
            routed.host.run("nft", "delete", "table", *table)
        eventually(lambda: not drift(routed))
    assert status(routed)[0] == 0


@pytest.mark.lab
def test_what_else_is_wrong_is_found_and_what_may_be_right_is_not(routed: Node) -> None:
    for number, body in enumerate(OPEN):
        chain = f"chain through {{ {BASE}; policy drop; {body}; }}"
        routed.host.run("nft", "-f", "-", stdin=f"table ip open{number} {{ {chain}\n}}")
    routed.host.run("nft", "-f", "-", stdin=DORMANT)
    # One that is surely wrong comes last, so the agent has judged the others when it names this one.
    routed.host.run("nft", "-f", "-", stdin=FIREWALLS["firewalld"][0])
    assert "table inet firewalld drops" in eventually(lambda: drift(routed).get("forwarding.ipv4"))
    routed.host.run("nft", "delete", "table", "inet", "firewalld")
    eventually(lambda: not drift(routed))
    routed.host.run("ip", "link", "set", "eth0", "mtu", "1400")
    said = eventually(lambda: drift(routed).get("forwarding.mtu"))
    assert "set the config's mtu to 1320" in said
    routed.host.run("ip", "link", "set", "eth0", "mtu", "1500")
    eventually(lambda: not drift(routed))
    routed.host.run("sysctl", "-qw", "net.ipv4.conf.wg0.forwarding=0")
    routed.host.run("ip", "link", "set", "far", "mtu", "1490")  # has the agent look again
    said = eventually(lambda: drift(routed).get("forwarding.ipv4"))
    assert "sysctl -w net.ipv4.conf.wg0.forwarding=1" in said
    routed.host.run("sysctl", "-qw", "net.ipv4.conf.wg0.forwarding=1")
    routed.host.run("ip", "route", "add", "prohibit", "default", "metric", "1")
    routed.host.run("ip", "route", "del", "default", "via", "198.18.0.9")
    eventually(lambda: "of type prohibit" in drift(routed).get("forwarding.ipv4", ""))
    # A firewall may give users' packets a mark, and another way with it.
    routed.host.run("ip", "route", "add", "default", "via", "198.18.0.9", "table", "100")
    routed.host.run("ip", "rule", "add", "fwmark", "7", "lookup", "100")
    routed.host.run("ip", "link", "set", "far", "mtu", "1480")
    eventually(lambda: not drift(routed))


def test_a_node_with_a_fault_is_told_of_and_serves() -> None:
    assert harms_no_user([Drift("forwarding.ipv4", "", "")])

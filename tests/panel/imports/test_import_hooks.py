"""Hooks of other programs are never run; what they stand for here is said, command by command."""

import pytest

from wgfleet.panel.domain.import_hooks import translated

KNOWN = {
    "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE": "nodes masquerade by themselves",
    "iptables -t nat -A POSTROUTING -s 10.8.0.0/24 -o eth0 -j SNAT --to-source 203.0.113.7": "masquerade by themselves",
    "nft add rule inet nat postrouting oifname eth0 masquerade": "nodes masquerade by themselves",
    "iptables -A FORWARD -i %i -j ACCEPT": "nodes let users through by themselves",
    "ip6tables -A FORWARD -o wg0 -m state --state RELATED,ESTABLISHED -j ACCEPT": "nodes let users through",
    "iptables -I FORWARD -i wg0 -o wg0 -j DROP": "--no-client-to-client",
    "iptables -I FORWARD -i wg0 -d 192.168.1.0/24 -j REJECT": "--deny-network 192.168.1.0/24",
    "iptables -A FORWARD -i wg0 -p tcp --dport 25 -j DROP": "a rule set says where users may connect to",
    "sysctl -w net.ipv4.ip_forward=1": "nodes turn forwarding on",
    "echo 1 > /proc/sys/net/ipv4/ip_forward": "nodes turn forwarding on",
    "iptables -A INPUT -p udp -m udp --dport 51820 -j ACCEPT": "open in the node's firewall",
    "ufw allow 51820/udp": "open in the node's firewall",
    "ufw route allow in on wg0 out on eth0": "nodes let users through by themselves",
    "iptables -t nat -A PREROUTING -i eth0 -p udp --dport 443 -j REDIRECT --to-ports 51820": "--listen-port",
    "tc qdisc add dev wg0 root tbf rate 20mbit burst 32kbit latency 400ms": "of the config, a tag or a peer: 20mbit",
    "iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu": "the mtu",
    "ip route add 10.9.0.0/24 via 10.8.0.2": "nodes have routes to their peers by themselves",
    "resolvectl dns wg0 10.8.0.1": "--dns of the config",
    "/usr/local/bin/notify.sh up": "has no like here",
}


@pytest.mark.parametrize("command", KNOWN)
def test_a_command_is_said_with_what_it_stands_for(command: str) -> None:
    (said,) = translated([f"PostUp: {command}"])
    assert said.startswith(f"a hook is not run (PostUp: {command}): ")
    assert KNOWN[command] in said, said


def test_each_command_of_a_line_is_said_once_and_what_takes_back_is_one_remark() -> None:
    up = "iptables -A FORWARD -i wg0 -j ACCEPT; iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE && true"
    down = "iptables -D FORWARD -i wg0 -j ACCEPT; iptables -t nat -D POSTROUTING -o eth0 -j MASQUERADE"
    said = translated([f"postup: {up}", f"post_up: {down}", f"post_down: {down}", f"PreDown: {down}"])
    assert len(said) == 3 + 2 + 1
    assert said[2].endswith("has no like here; what it does stays yours to do")
    assert "PostDown" in said[-1]


@pytest.mark.parametrize("hook", ["", ":", "PostUp:", "PostUp: ;;&&", "{0} {net}: {rate}", "forward -i " * 2000])
def test_any_text_is_taken(hook: str) -> None:
    assert all(isinstance(each, str) for each in translated([hook]))

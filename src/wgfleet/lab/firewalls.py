"""Firewalls and settings of machines that keep users from the uplink, as those leave them who do not think of a VPN.

Each is put on a host of the lab, and taken off again. Rules are those that the programs write; ufw is the program
itself where the machine has it, with files of its own in the host.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from wgfleet.lab.hosts import Host
from wgfleet.lab.topology import NODE_SEGMENT, RANGE

_HOOK = "type filter hook forward priority filter"
_STATEFUL = "ct state established,related accept"
_DOCKER = f"""table ip filter {{
  chain DOCKER-USER {{ counter; return; }}
  chain DOCKER-FORWARD {{ oifname "docker0" {_STATEFUL}; iifname "docker0" accept; }}
  chain FORWARD {{ {_HOOK}; policy drop; jump DOCKER-USER; jump DOCKER-FORWARD; }}
}}"""
_UFW = f"""table ip filter {{
  chain ufw-user-forward {{ }}
  chain ufw-before-forward {{ {_STATEFUL}; ip protocol icmp icmp type echo-request accept; jump ufw-user-forward; }}
  chain FORWARD {{ {_HOOK}; policy drop; jump ufw-before-forward; }}
}}"""
_FIREWALLD = f"""table inet firewalld {{
  chain filter_FWD_public {{ meta l4proto {{ icmp, ipv6-icmp }} accept; reject with icmpx admin-prohibited; }}
  chain filter_FORWARD_ZONES {{ iifname "eth0" goto filter_FWD_public; goto filter_FWD_public; }}
  chain filter_FORWARD {{ type filter hook forward priority filter + 10; policy accept; {_STATEFUL};
    ct status dnat accept; iifname "lo" accept; jump filter_FORWARD_ZONES; reject with icmpx admin-prohibited; }}
}}"""
# What no reading of rules finds: a mark that somebody else's program is to set.
_HIDDEN = f"""table inet shaper {{
  chain through {{ {_HOOK}; iifname "wg0" meta mark != 0x7 drop; }}
}}"""
_UFW_PLACES = ("/etc/ufw", "/etc/default", "/lib/ufw")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that keeps users from the uplink. `named`: words that the panel is to say of it.

    `shut` and `repair` do it to a host. `drops`: whether no packet of theirs gets through.
    """

    name: str
    named: tuple[str, ...]
    shut: Callable[[Host], None]
    repair: Callable[[Host], None]
    drops: bool = True


def has_ufw() -> bool:
    """Whether the machine has ufw itself."""
    return shutil.which("ufw") is not None


def obstacles() -> list[Obstacle]:
    """Return all of them."""
    return [
        _rules("docker", _DOCKER, "ip filter", "FORWARD of table ip filter", "iptables -I DOCKER-USER -i wg0"),
        Obstacle("ufw", ("FORWARD of table ip filter", "ufw route allow in on wg0"), _shut_ufw, _repair_ufw)
        if has_ufw()
        else _rules("ufw", _UFW, "ip filter", "FORWARD of table ip filter", "ufw route allow in on wg0"),
        _rules("firewalld", _FIREWALLD, "inet firewalld", "table inet firewalld", "firewall-cmd --permanent"),
        _rules("hidden", _HIDDEN, "inet shaper", "answers this machine, and no packet of a user's address"),
        Obstacle("route", ("no default route", "ip route add default"), _lose_route, _find_route),
        Obstacle("mtu", ("eth0 carries 1400 bytes", "set the config's mtu to 1320"), _narrow, _widen, drops=False),
        Obstacle("ipv6", ("IPv6 is disabled on this machine",), _without_ipv6, _with_ipv6, drops=False),
    ]


def _rules(name: str, text: str, table: str, *named: str) -> Obstacle:
    def shut(host: Host) -> None:
        host.run("nft", "-f", "-", stdin=text)

    def repair(host: Host) -> None:
        host.run("nft", "delete", "table", *table.split())

    return Obstacle(name, named, shut, repair)


def _shut_ufw(host: Host) -> None:
    """Turn ufw on, as a person does who has read how: SSH, the agent's port and WireGuard's are open."""
    for place in _UFW_PLACES:
        copy = f"/run/copies{place}"
        host.run("sh", "-ec", f"mkdir -p {copy}; cp -a {place}/. {copy}; mount --bind {copy} {place}")
    for rule in ("allow 22/tcp", "allow 51900/tcp", "allow 51820/udp"):
        host.run("ufw", *rule.split())
    host.run("ufw", "--force", "enable")


def _repair_ufw(host: Host) -> None:
    """Type what the agent says, for each of its interfaces."""
    for interface in host.run("wg", "show", "interfaces").split():
        host.run("ufw", "route", "allow", "in", "on", interface, "out", "on", "eth0")


def _lose_route(host: Host) -> None:
    """Leave the lab's own networks in reach: nobody could manage the node otherwise."""
    host.run("ip", "route", "add", RANGE, "via", NODE_SEGMENT.gateway)
    host.run("ip", "route", "del", "default")


def _find_route(host: Host) -> None:
    host.run("ip", "route", "add", "default", "via", NODE_SEGMENT.gateway)
    host.run("ip", "route", "del", RANGE)


def _narrow(host: Host) -> None:
    host.run("ip", "link", "set", "eth0", "mtu", "1400")


def _widen(host: Host) -> None:
    host.run("ip", "link", "set", "eth0", "mtu", "1500")


def _without_ipv6(host: Host) -> None:
    host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")


def _with_ipv6(host: Host) -> None:
    host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")

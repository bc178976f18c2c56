"""The network of topology.py, built: namespaces, cables, bridges, routes. Cuts and reconnects cables.

Must not know what runs in the hosts.
"""

import contextlib
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from wgfleet.lab import processes
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.topology import (
    CLIENT_SEGMENT,
    PANEL_SEGMENT,
    PREFIX,
    RANGE,
    ROOT_ADDRESS,
    ROOT_LINK,
    ROUTER,
    SEGMENTS,
    HostSpec,
    namespace,
    v6,
)

# Linux's conntrack lets a packet in when it comes from the address and port that one was sent to.
_HOME_ROUTER = """
table ip home {
  chain out { type nat hook postrouting priority srcnat; oifname "eth0" masquerade; }
  chain through { type filter hook forward priority filter; iifname "eth0" ct state != { established, related } drop; }
  chain to { type filter hook input priority filter; iifname "eth0" ct state != { established, related } drop; }
}
"""
# The same for IPv6. Who a neighbor is belongs to no connection.
_HOME_ROUTER6 = """
table ip6 home {
  chain out { type nat hook postrouting priority srcnat; oifname "eth0" masquerade; }
  chain through { type filter hook forward priority filter; iifname "eth0" ct state != { established, related } drop; }
  chain to { type filter hook input priority filter; iifname "eth0" icmpv6 type != { nd-neighbor-solicit,
    nd-neighbor-advert } ct state != { established, related } drop; }
}
"""


def build(lab: str, directory: Path, hosts: Sequence[HostSpec], *, dual: bool = False) -> dict[str, Host]:
    """Build everything, with IPv6 if it is to be `dual`; return the hosts by name.

    What a failure leaves, `sweep` removes.
    """
    _refuse_taken_range()
    processes.ip_batch([f"netns add {namespace(lab, place.name)}" for place in hosts])
    built = _hold(lab, directory, hosts, dual=dual)
    for place in hosts:
        _connect(lab, place, [other for other in hosts if other.segment is not None and other.router == place.name])
        if dual:
            processes.ip_batch(_ipv6(place), namespace=namespace(lab, place.name))
        if place.is_nat:
            _hide(built[place.name], dual=dual)
    _join_machine(namespace(lab, ROUTER))
    return built


def _connect(lab: str, place: HostSpec, behind: Sequence[HostSpec]) -> None:
    """Give a host its address, and its bridges with a cable for each host `behind` it; its own cable is there."""
    commands = ["link set lo up"]
    if place.segment is not None:
        commands += [
            f"addr add {place.segment.interface_address(place.address)} dev eth0",
            "link set eth0 up",
            f"route add default via {place.segment.gateway}",
        ]
    for segment in place.bridges:
        commands += [
            f"link add {segment.bridge} type bridge",
            f"addr add {segment.interface_address(segment.gateway)} dev {segment.bridge}",
            f"link set {segment.bridge} up",
        ]
    for other in behind:
        if other.segment is not None:
            commands.append(f"link add {other.cable} type veth peer name eth0 netns {namespace(lab, other.name)}")
            commands.append(f"link set {other.cable} master {other.segment.bridge} up")
    processes.ip_batch(commands, namespace=namespace(lab, place.name))


def _ipv6(place: HostSpec) -> list[str]:
    """Return the commands that give a host IPv6 as well. Nodes learn the way out from the router's advertisements."""
    commands = []
    if place.segment is not None:
        commands.append(f"addr add {place.segment.interface_address6(place.address)} dev eth0 nodad")
        if not place.name.startswith("node-"):
            commands.append(f"route add ::/0 via {v6(place.segment.gateway)} dev eth0")
    return [
        *commands,
        *(f"addr add {each.interface_address6(each.gateway)} dev {each.bridge} nodad" for each in place.bridges),
    ]


def _hide(box: Host, *, dual: bool) -> None:
    """Have a host do what a home's router does: one address for all, and only answers get in."""
    box.run("nft", "-f", "-", stdin=_HOME_ROUTER + (_HOME_ROUTER6 if dual else ""))


def _hold(lab: str, directory: Path, hosts: Sequence[HostSpec], *, dual: bool) -> dict[str, Host]:
    names = "".join(f"{place.address} {place.name}.lab.test {place.name}\n" for place in hosts if place.address)
    specs = []
    for place in hosts:
        home = directory / "hosts" / place.name
        for part in ("log", "run", "wireguard"):
            (home / part).mkdir(mode=0o700, parents=True)
        (home / "hosts").write_text(f"127.0.0.1 localhost\n{names}", encoding="ascii")
        (home / "resolv.conf").write_text(_resolver(place), encoding="ascii")
        spec = {"namespace": namespace(lab, place.name), "directory": str(home)}
        specs.append(spec | ({"forwarding": "ipv4 ipv6" if dual else "ipv4"} if place.bridges else {}))
    pids = json.loads(processes.run([sys.executable, "-P", "-m", "wgfleet.lab.holder"], stdin=json.dumps(specs)))
    return {
        place.name: Host(
            name=place.name,
            namespace=spec["namespace"],
            address=place.address,
            pid=pids[spec["namespace"]],
            directory=Path(spec["directory"]),
        )
        for place, spec in zip(hosts, specs, strict=True)
    }


def _resolver(place: HostSpec) -> str:
    """Say whom a host asks for names: the router, at the nearest of its addresses that is not behind NAT."""
    near = place.segment if place.segment in SEGMENTS else CLIENT_SEGMENT
    return f"nameserver {near.gateway}\noptions timeout:1 attempts:5\n"


def _join_machine(router: str) -> None:
    """Give the machine itself a cable into the panel's segment, so that a person can reach everything."""
    processes.ip_batch(
        [
            f"link add {ROOT_LINK} type veth peer name v-root netns {router}",
            f"addr add {PANEL_SEGMENT.interface_address(ROOT_ADDRESS)} dev {ROOT_LINK}",
            f"link set {ROOT_LINK} up",
        ]
    )
    processes.ip_batch([f"link set v-root master {PANEL_SEGMENT.bridge} up"], namespace=router)
    processes.ip_batch([f"route add {RANGE} via {PANEL_SEGMENT.gateway}"])


def _refuse_taken_range() -> None:
    if ROOT_LINK in (name for _, name in socket.if_nameindex()):
        raise LabError(
            f"link {ROOT_LINK} is there already: another lab is on this machine, under another root directory or "
            f"mount namespace; end it there, or remove the link with: ip link del {ROOT_LINK}"
        )
    if routes := processes.run(["ip", "route", "show", "root", RANGE]).strip():
        raise LabError(f"the lab needs {RANGE}, but this machine has a route in it: {routes.splitlines()[0].strip()}")


def cut(lab: str, place: HostSpec) -> None:
    """Pull a host's cable."""
    processes.ip_batch([f"link set {place.cable} down"], namespace=namespace(lab, place.router))


def reconnect(lab: str, place: HostSpec) -> None:
    """Put a host's cable back."""
    processes.ip_batch([f"link set {place.cable} up"], namespace=namespace(lab, place.router))


def sweep(lab: str) -> None:
    """Remove a lab from the machine, whatever state it is in: processes, namespaces, links, routes.

    Works from what the kernel shows and not from notes, so it also removes a lab that was killed while it grew.
    """
    ours = processes.networks(lab)
    processes.end(ours)
    # A device outlives its namespace's name for a while, the machine's end of the cable with it: remove that by hand.
    names = processes.named_namespaces(f"{PREFIX}{lab}-")
    if ours or names:
        with contextlib.suppress(LabError):  # it is gone when the lab did not get that far
            processes.run(["ip", "link", "del", ROOT_LINK])
    if names:
        processes.ip_batch([f"netns del {name}" for name in names])


def forget_netns() -> None:
    """Remove the directory that `ip netns` made for itself, unless somebody else's namespaces are in it."""
    if processes.NETNS_DIR.is_dir() and not any(processes.NETNS_DIR.iterdir()):
        # It is mounted on itself, which `is_mount` cannot see.
        processes.run(["umount", str(processes.NETNS_DIR)], check=False)
        with contextlib.suppress(OSError):
            processes.NETNS_DIR.rmdir()

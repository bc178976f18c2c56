"""Faults that keep users' packets from the uplink, or their answers from users: each as drift, with what to type.

Read with the link, that is every 30 s, and when links or rules of the machine change. Nothing is repaired: the rules
are somebody else's.
"""

import errno
from collections.abc import Sequence
from ipaddress import ip_interface

import structlog

from wgfleet.agent.interfaces.forward_chains import Chain, Packet, dropping, parse
from wgfleet.agent.kernel import forward_path
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.forward_path import WayThrough
from wgfleet.agent.kernel.links import Link
from wgfleet.agent.kernel.uplink_mtu import OVERHEAD, USUAL_MTU
from wgfleet.protocol import forwarding_words as words
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.diff import FORWARDING, Drift
from wgfleet.protocol.ids import InterfaceName

_WANTED = "users reach what is behind the uplink"
_IPV6_LEAST_MTU = 1280
_log = structlog.get_logger()


async def forwarding_faults(settings: InterfaceSettings, link: Link | None, mtu: int | None) -> tuple[Drift, ...]:
    """Find what is surely wrong, where users are masqueraded. What cannot be read is not complained of.

    `mtu`: what the config says, and so users' files; the link's own follows the uplink.
    """
    if link is None or not link.up or not settings.enabled or not settings.masquerade:
        return ()
    try:
        ways = {each: await forward_path.way_of(settings.name, each) for each in _one_a_version(settings)}
        chains = parse(*await forward_path.rules()) if any(way and way.link for way in ways.values()) else []
    except (KernelError, OSError) as error:
        _log.debug("forwarding.not_read", interface=settings.name, reason=str(error))
        return ()
    found: dict[str, Drift] = {}
    for address, way in ways.items():
        if way is not None:
            found |= {each.field: each for each in faults(settings, address, way, chains, mtu or USUAL_MTU)}
    return tuple(found.values())


def _one_a_version(settings: InterfaceSettings) -> list[str]:
    """Return the first address of each IP version."""
    return list({ip_interface(each).version: each for each in reversed(settings.addresses)}.values())


def faults(
    settings: InterfaceSettings, address: str, way: WayThrough, chains: Sequence[Chain], mtu: int
) -> list[Drift]:
    """Return what is wrong with the way of packets, of `mtu` bytes, of users in the network of `address`."""
    name, network = settings.name, ip_interface(address).network
    field = f"{FORWARDING}.ipv{network.version}"
    if way.link is None:
        said = _refusals(name, network.version).get(way.error)
        return [] if said is None else [Drift(field, _WANTED, said)]
    found = []
    out = Packet(name, way.link, network, None, "new")
    back = Packet(way.link, name, None, network, "established")
    chain = dropping(chains, out) or dropping(chains, back)
    if chain is not None:
        command, table = _opening(chain, chains, name, way.link), f"{chain.family} {chain.table}"
        said = words.CHAIN_DROPS.format(chain=chain.name, table=table, command=command)
        found.append(Drift(field, _WANTED, said))
    fits = way.mtu - OVERHEAD[6]
    if way.mtu - OVERHEAD[4] < mtu:
        least = max(fits, 576 if all(ip_interface(each).version == 4 for each in settings.addresses) else 0)  # noqa: PLR2004 - IP versions and sizes
        small = f"{way.link} carries {way.mtu} bytes: TCP fits itself to that, other packets of {mtu} get lost"
        way_out = f"set the config's mtu to {least}" if least >= _IPV6_LEAST_MTU or least == fits else "raise its MTU"
        found.append(Drift(f"{FORWARDING}.mtu", f"at most {fits}", f"{small}; {way_out}"))
    return found


def _refusals(name: InterfaceName, version: int) -> dict[int, str]:
    """Return what the kernel's answers mean. That there is no route is no fault: some serve what is near them alone."""
    return {
        errno.EHOSTUNREACH: words.NOT_FORWARDED.format(name=name, version=version),
        errno.EXDEV: words.FORGED.format(name=name),
        errno.EACCES: words.PROHIBITED,
    }


def _opening(chain: Chain, chains: Sequence[Chain], name: InterfaceName, uplink: str) -> str:
    """Return the command that lets users' packets pass, in the words of the program that made the chain."""
    beside = {each.name for each in chains if (each.family, each.table) == (chain.family, chain.table)}
    if chain.table == "firewalld":
        return f"firewall-cmd --permanent --zone=trusted --add-interface={name} && firewall-cmd --reload"
    if any(each.startswith(("ufw-", "ufw6-")) for each in beside):
        return f"ufw route allow in on {name} out on {uplink}"
    if chain.name == "FORWARD":  # of iptables; docker keeps a chain for others' rules
        program = "ip6tables" if chain.family == "ip6" else "iptables"
        into = "DOCKER-USER" if "DOCKER-USER" in beside else "FORWARD"
        states = "-m conntrack --ctstate ESTABLISHED,RELATED"
        return (
            f"{program} -I {into} -i {name} -o {uplink} -j ACCEPT && "
            f"{program} -I {into} -i {uplink} -o {name} {states} -j ACCEPT"
        )
    into = f"nft insert rule {chain.family} {chain.table} {chain.name}"
    return (
        f"""{into} iifname '"{name}"' oifname '"{uplink}"' accept && """
        f"""{into} iifname '"{uplink}"' oifname '"{name}"' ct state established,related accept"""
    )

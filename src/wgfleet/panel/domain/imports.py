"""Plans of imports: which peers of another program become which peers here, and which do not, with the reason. Pure."""

import ipaddress
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from wgfleet.imports.fleet import ImportedInterface, ImportedPeer
from wgfleet.panel.domain import addressing, look_alikes
from wgfleet.panel.domain.client_settings import EVERYTHING
from wgfleet.panel.domain.fields import one_spelling, parse_title
from wgfleet.panel.errors import Invalid
from wgfleet.protocol.reasons import Reason

MAX_NAME = 64
KEY_IN_NAME = 8
_KEPT = frozenset("\u200c\u200d\u200e\u200f")  # joiners and marks of direction, which Persian and Arabic need


class PeerFate(StrEnum):
    """What becomes of a peer: it is made, is here already, or is left out."""

    NEW = "new"
    SAME = "same"
    LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True)
class PlannedPeer:
    """A peer of the source with the name and addresses that it gets.

    `remarks`: sentences for people, on what is another than at the source. `carried_over`: what else it gets.
    """

    peer: ImportedPeer
    fate: PeerFate
    name: str
    addresses: tuple[str, ...]
    remarks: tuple[str, ...]
    carried_over: tuple[str, ...] = ()


def pools(interface: ImportedInterface) -> list[str]:
    """Return the networks of an interface's own addresses, which become the pools."""
    return list(dict.fromkeys(str(ipaddress.ip_interface(each).network) for each in interface.addresses))


def servers(interface: ImportedInterface, networks: Sequence[str]) -> list[str]:
    """Return the nodes' own addresses: of each network the server's first that a host can have, else one of no peer."""
    kept: dict[str, str] = {}
    for each in interface.addresses:
        address = str(ipaddress.ip_interface(each).ip)
        network = next((network for network in networks if _inside(address, network)), None)
        if network is not None and network not in kept and addressing.is_host(network, address):
            kept[network] = address
    held = {address for peer in interface.peers for address in peer.addresses}
    for network in networks:
        if network not in kept and (free := _first_free(network, held)) is not None:
            kept[network] = free
    return list(kept.values())


def _first_free(network: str, held: Collection[str]) -> str | None:
    """Return the first address that no peer has; None where peers have all of them."""
    offset = addressing.gateway_offset(network)
    while offset <= addressing.last_offset(network):
        if (address := addressing.address_at(network, offset)) not in held:
            return address
        offset += 1
    return None


def moved_server(interface: ImportedInterface, own: Collection[str]) -> list[str]:
    """Say which addresses of the server no node has. `own`: those that nodes have."""
    return [
        Reason(
            "the server had {address}, which nodes do not have: files that name it as DNS server need a new one",
            address=address,
        )
        for address in dict.fromkeys(str(ipaddress.ip_interface(each).ip) for each in interface.addresses)
        if address not in own
    ]


def planned(
    interface: ImportedInterface,
    networks: Mapping[str, str],
    keys: Mapping[str, str],
    held: Mapping[str, str],
) -> list[PlannedPeer]:
    """Plan the peers of an interface.

    `networks`: the pools, with the nodes' own address in each. `keys` and `held`: public keys and addresses of the
    config's peers, with their names: a peer is the same by its key, whatever it is called. The order of the source
    decides who keeps a name or an address.
    """
    taken = {look_alikes.seen(name) for name in keys.values()}
    addresses = dict(held)
    seen: set[str] = set()
    found = []
    for peer in interface.peers:
        if peer.public_key in seen:
            found.append(
                PlannedPeer(peer, PeerFate.LEFT_OUT, peer.name, (), (Reason("another peer above has its public key"),))
            )
            continue
        if peer.public_key in keys:
            seen.add(peer.public_key)
            found.append(PlannedPeer(peer, PeerFate.SAME, keys[peer.public_key], (), ()))
            continue
        if peer.public_key == interface.public_key:
            found.append(
                PlannedPeer(
                    peer, PeerFate.LEFT_OUT, peer.name, (), (Reason("its public key is that of the server itself"),)
                )
            )
            continue
        seen.add(peer.public_key)
        name, renamed = _name(peer, taken)
        taken.add(look_alikes.seen(name))
        own, remarks = _addresses(peer, networks, addresses)
        addresses |= dict.fromkeys(own, name)
        routed, unrouted = _without_default_routes(peer)
        found.append(PlannedPeer(routed, PeerFate.NEW, name, own, (*renamed, *remarks, *unrouted)))
    return found


def _without_default_routes(peer: ImportedPeer) -> tuple[ImportedPeer, list[str]]:
    """Return a peer without the default routes behind it, and a remark on each: nodes leave by their own uplinks."""
    dropped = [each for each in EVERYTHING.values() if each in peer.networks]
    if not dropped:
        return peer, []
    kept = tuple(each for each in peer.networks if each not in dropped)
    said: list[str] = [
        Reason("{network} behind it is left out: a node sends what has no other way by its own uplink", network=each)
        for each in dropped
    ]
    return msgspec.structs.replace(peer, networks=kept), said


def _name(peer: ImportedPeer, taken: Collection[str]) -> tuple[str, list[str]]:
    """Return a name that may be had, the same at each run, and the remark where it is another one."""
    letters = "".join(c for c in peer.public_key if c.isascii() and c.isalnum())[:KEY_IN_NAME]
    text = "".join(" " if unicodedata.category(c)[0] == "C" and c not in _KEPT else c for c in one_spelling(peer.name))
    wanted = " ".join(text.split())[:MAX_NAME].strip() or f"peer-{letters}"
    try:
        wanted = parse_title(wanted, MAX_NAME)
    except Invalid:
        wanted = f"peer-{letters}"
    if look_alikes.seen(wanted) in taken:
        wanted = f"{wanted[: MAX_NAME - KEY_IN_NAME - 1].strip()}-{letters}"
    if wanted == peer.name:
        return wanted, []
    return wanted, [Reason("it is called {wanted!r}, as {why}", wanted=wanted, why=_why(peer.name))]


def _why(name: str) -> str:
    return (
        Reason("it has no name")
        if not name.strip()
        else Reason("{name!r} is taken or cannot be a name", name=name[:MAX_NAME])
    )


def _addresses(
    peer: ImportedPeer, networks: Mapping[str, str], taken: Mapping[str, str]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the addresses that a peer keeps, at most one a pool, and remarks on the others and on missing ones."""
    kept: dict[str, str] = {}
    said: list[str] = []
    for address in peer.addresses:
        pool = next((each for each in networks if _inside(address, each)), None)
        if pool is None:
            said.append(Reason("{address} is in none of the pools, and is left out", address=address))
        elif pool in kept:
            said.append(Reason("{address} is a second address in {pool}, and is left out", address=address, pool=pool))
        elif addressing.is_host(pool, address) and address != networks[pool] and not _may_have(address, pool):
            said.append(
                Reason("{address} is too far up in {pool} to be given: it gets another one", address=address, pool=pool)
            )
        elif address == networks[pool] or not addressing.is_host(pool, address):
            said.append(
                Reason(
                    "{address} belongs to the nodes, or to nobody, in {pool}: it gets another one",
                    address=address,
                    pool=pool,
                )
            )
        elif address in taken:
            said.append(
                Reason("{taken!r} has {address} too: it gets another one", taken=taken[address], address=address)
            )
        else:
            kept[pool] = address
    said += [
        Reason("it gets an address in {pool}: give it a new file", pool=pool) for pool in networks if pool not in kept
    ]
    return tuple(kept.values()), said


def _inside(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


def _may_have(address: str, network: str) -> bool:
    return addressing.gateway_offset(network, address) <= addressing.last_offset(network)

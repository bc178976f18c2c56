"""Owners of flows: TCP connections as packed bytes, and which users' networks they are of. Pure.

A flow is the user's address and port, then the server's, in network order: 12 bytes for IPv4, 36 for IPv6.
"""

import socket
from collections.abc import Collection, Iterable, Mapping

from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.open_flows import MOST_OF_PEER

SIZES = {12: 4, 36: 16}  # of a flow in bytes, and of an address in it


class Users:
    """A set of networks of users."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._hosts = set[bytes]()
        self._wide: dict[tuple[int, int], set[int]] = {}  # by size of addresses, and bits that networks do not fix
        for address, bits in map(parsed, networks):
            free = 8 * len(address) - bits
            if free:
                self._wide.setdefault((len(address), free), set()).add(int.from_bytes(address) >> free)
            else:
                self._hosts.add(address)

    def has(self, address: bytes) -> bool:
        """Whether a packed address is in one of them."""
        if address in self._hosts:
            return True
        number = int.from_bytes(address)
        return any(size == len(address) and number >> free in fixed for (size, free), fixed in self._wide.items())


def parsed(network: str) -> tuple[bytes, int]:
    """Return address and bits of a network in canonical form, 20 times as fast as `ipaddress` does."""
    address, _, bits = network.partition("/")
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address), int(bits)


def user_of(flow: bytes) -> bytes:
    """Return the packed address of a flow's user."""
    return flow[: SIZES[len(flow)]]


def server_of(flow: bytes) -> bytes:
    """Return the packed address of a flow's server."""
    size = SIZES[len(flow)]
    return flow[size + 2 : 2 * size + 2]


def of_peers(
    networks: Mapping[PublicKey, Collection[str]], flows: Iterable[bytes]
) -> dict[PublicKey, tuple[bytes, ...]]:
    """Divide flows among peers by their networks; a peer without any is left out."""
    hosts: dict[bytes, PublicKey] = {}
    wide: list[tuple[Users, PublicKey]] = []
    for key, each in networks.items():
        for network in each:
            address, bits = parsed(network)
            if bits == 8 * len(address):
                hosts[address] = key
            else:
                wide.append((Users([network]), key))
    found: dict[PublicKey, list[bytes]] = {}
    for flow in flows:
        user = user_of(flow)
        of = hosts.get(user) or next((key for users, key in wide if users.has(user)), None)
        if of is not None and len(found.setdefault(of, [])) < MOST_OF_PEER:
            found[of].append(flow)
    return {key: tuple(each) for key, each in found.items()}

"""Flows elsewhere: users' TCP connections that other nodes' NAT carries, and those to be ended here. Pure.

A user who comes to this node brings connections that its NAT does not know. Those in which the user sends are ended by
the rule `unknown_flows`; in one where he only receives nothing would ever be sent again, so he is challenged to send.
Times are in s of the monotonic clock.
"""

import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from wgfleet.protocol.backbone import FLOWS_IN_DATAGRAM, MAX_FLOWS, Flows

# After an arrival: packets get lost, and what the former node has to say may come later than the user. A kernel answers
# once in 0.5 s for a connection.
CHALLENGES_S = (0.0, 0.7, 2.0)
_KEPT_S = 120.0  # what a node said is of use until its users have come
_SIZES = {12: 4, 36: 16}  # of a flow in bytes, and of an address in it
_OF_ONE_USER = 64  # in a list, so that one who opens many hides nobody else's


@dataclass(slots=True)
class _Listing:
    number: int
    flows: set[bytes]
    before: set[bytes]
    heard_at: float


@dataclass(slots=True)
class FlowsElsewhere:
    """What other nodes say, by their numbers, and the networks of users who have just come."""

    _listings: dict[int, _Listing] = field(default_factory=dict)
    _due: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(each.flows) for each in self._listings.values())

    def heard(self, node: int, message: Flows, now: float) -> None:
        """Take a part of a node's list. The one before stays, since parts of a list may get lost."""
        listing = self._listings.get(node)
        if listing is None or listing.number != message.listing:
            before = set() if listing is None else listing.flows
            listing = self._listings[node] = _Listing(message.listing, set(), before, now)
        listing.heard_at = now
        room = MAX_FLOWS - len(listing.flows)
        listing.flows.update(flow for flow in message.flows[:room] if len(flow) in _SIZES)

    def arrived(self, networks: Collection[str], now: float) -> None:
        """Have the users of these networks challenged, now and a few times more."""
        if networks:
            self._due += [(now + after, tuple(networks)) for after in CHALLENGES_S]

    def next_at(self) -> float:
        """Return when the next challenges are due."""
        return min((at for at, _ in self._due), default=float("inf"))

    def take_due(self, now: float) -> list[bytes]:
        """Return the flows to challenge now."""
        due = [networks for at, networks in self._due if at <= now]
        self._due = [each for each in self._due if each[0] > now]
        self._listings = {node: each for node, each in self._listings.items() if now - each.heard_at < _KEPT_S}
        if not due:
            return []
        inside = Users(network for networks in due for network in networks)
        told = set[bytes]().union(*(each.flows | each.before for each in self._listings.values()))
        return sorted(flow for flow in told if inside.has(user_of(flow)))


class Users:
    """A set of networks of users."""

    def __init__(self, networks: Iterable[str]) -> None:
        parsed = {ipaddress.ip_network(each) for each in networks}
        self._hosts = {each.network_address.packed for each in parsed if each.num_addresses == 1}
        self._wide = [
            (each.network_address.packed, each.broadcast_address.packed) for each in parsed if each.num_addresses > 1
        ]

    def has(self, address: bytes) -> bool:
        """Whether a packed address is in one of them."""
        return address in self._hosts or any(
            len(first) == len(address) and first <= address <= last for first, last in self._wide
        )


def user_of(flow: bytes) -> bytes:
    """Return the packed address of a flow's user."""
    return flow[: _SIZES[len(flow)]]


def server_of(flow: bytes) -> bytes:
    """Return the packed address of a flow's server."""
    size = _SIZES[len(flow)]
    return flow[size + 2 : 2 * size + 2]


def choose(found: Iterable[bytes], told: Collection[bytes]) -> list[bytes]:
    """Choose the flows that others get to know: where there are too many, those that have lasted longest."""
    counts: dict[bytes, int] = {}
    chosen: list[bytes] = []
    for flow in sorted(found, key=lambda flow: flow not in told):
        user = user_of(flow)
        counts[user] = counts.get(user, 0) + 1
        if counts[user] <= _OF_ONE_USER and len(chosen) < MAX_FLOWS:
            chosen.append(flow)
    return chosen


def parts(listing: int, flows: Collection[bytes]) -> list[Flows]:
    """Divide a list into messages that fit a datagram each; an empty one is a message, too."""
    found: list[Flows] = []
    part: list[bytes] = []
    size = 0
    for flow in flows:
        cost = 1 if len(flow) == min(_SIZES) else 3
        if size + cost > FLOWS_IN_DATAGRAM:
            found.append(Flows(listing, tuple(part)))
            part, size = [], 0
        part.append(flow)
        size += cost
    return [*found, Flows(listing, tuple(part))]

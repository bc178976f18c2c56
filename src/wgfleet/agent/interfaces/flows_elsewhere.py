"""Flows elsewhere: users' TCP connections that other nodes' NAT carries, and those to be ended here. Pure.

A user who comes to this node brings connections that its NAT does not know. Those in which the user sends are ended by
the rule `unknown_flows`; in one where he only receives nothing would ever be sent again, so he is challenged to send.
Times are in s of the monotonic clock.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from wgfleet.protocol.backbone import FLOWS_IN_DATAGRAM, MAX_FLOWS, Flows
from wgfleet.protocol.flow_owners import SIZES, Users, parsed, user_of

# After an arrival: packets get lost, and what the former node has to say may come later than the user. A kernel answers
# once in 0.5 s for a connection.
CHALLENGES_S = (0.0, 0.7, 2.0)
SLICE = 2000  # networks of arrivals between other work, some ms
_KEPT_S = 120.0  # what a node said is of use until its users have come
_OF_ONE_USER = 64  # of one node, so that one who opens many hides nobody else's, and a lie costs him little


@dataclass(slots=True)
class _Listing:
    """What a node says in its latest list, and in the one before, by user."""

    number: int
    heard_at: float
    before: dict[bytes, set[bytes]]
    flows: dict[bytes, set[bytes]] = field(default_factory=dict)
    size: int = 0

    def add(self, flow: bytes) -> None:
        of_user = self.flows.setdefault(user_of(flow), set())
        if len(of_user) < _OF_ONE_USER and flow not in of_user:
            of_user.add(flow)
            self.size += 1

    def of(self, user: bytes) -> Iterator[bytes]:
        latest, before = self.flows.get(user, set()), self.before.get(user, set())
        return islice(chain(latest, before - latest), _OF_ONE_USER)


@dataclass(slots=True)
class FlowsElsewhere:
    """What other nodes say, by their numbers, and the networks of users who have just come."""

    _listings: dict[int, _Listing] = field(default_factory=dict)
    _due: list[tuple[float, Sequence[str]]] = field(default_factory=list)
    _under_way: set[str] = field(default_factory=set)  # networks for which challenges are due
    _brought: int = 0  # lists of the panel; none is a part of the one before, and no node has a negative number

    def __len__(self) -> int:
        return sum(each.size for each in self._listings.values())

    def heard(self, node: int, message: Flows, now: float) -> None:
        """Take a part of a node's list. The one before stays, since parts of a list may get lost."""
        listing = self._listings.get(node)
        if listing is None or listing.number != message.listing:
            before = {} if listing is None else listing.flows
            listing = self._listings[node] = _Listing(message.listing, now, before)
        listing.heard_at = now
        for flow in message.flows:
            if len(flow) in SIZES and listing.size < MAX_FLOWS:
                listing.add(flow)

    def arrived(self, networks: Iterable[str], now: float) -> None:
        """Have the users of these networks challenged, now and a few times more.

        For one who has just come that goes on as it is, however often a node claims him and gives him back.
        """
        fresh = [each for each in networks if each not in self._under_way]
        if fresh:
            self._under_way.update(fresh)
            self._due += [(now + after, fresh) for after in CHALLENGES_S]

    def brought(self, networks: Collection[str], flows: Iterable[bytes], now: float) -> None:
        """Have those connections ended that users of some networks, who have come, are said to have had."""
        users = Users(networks)
        theirs = tuple(flow for flow in flows if len(flow) in SIZES and users.has(user_of(flow)))
        if theirs:
            self._brought += 1
            self.heard(-self._brought, Flows(0, theirs), now)
            self.arrived(networks, now)

    def next_at(self) -> float:
        """Return when the next challenges are due."""
        return min((at for at, _ in self._due), default=float("inf"))

    def drop_due(self) -> None:
        """Challenge nobody who has come by now."""
        self._due.clear()
        self._under_way.clear()

    def take_due(self, now: float) -> Iterator[list[bytes]]:
        """Give the flows to challenge now, those of some users at a time."""
        due = {id(networks): networks for at, networks in self._due if at <= now}
        self._due = [each for each in self._due if each[0] > now]
        for ended in due.keys() - {id(networks) for _, networks in self._due}:
            self._under_way.difference_update(due[ended])
        self._listings = {node: each for node, each in self._listings.items() if now - each.heard_at < _KEPT_S}
        return _chosen(list(self._listings.values()), list(due.values()))


def _chosen(listings: Sequence[_Listing], due: Iterable[Sequence[str]]) -> Iterator[list[bytes]]:
    for networks in due if listings else ():
        wide: list[str] = []
        for start in range(0, len(networks), SLICE):
            hosts: list[bytes] = []
            for each in networks[start : start + SLICE]:
                address, bits = parsed(each)
                if bits == 8 * len(address):
                    hosts.append(address)
                else:
                    wide.append(each)
            yield [flow for listing in listings for user in hosts for flow in listing.of(user)]
        inside = Users(wide)
        for listing in listings if wide else ():
            users = [user for user in {**listing.flows, **listing.before} if inside.has(user)]
            yield [flow for user in users for flow in listing.of(user)]


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
        cost = 1 if len(flow) == min(SIZES) else 3
        if size + cost > FLOWS_IN_DATAGRAM:
            found.append(Flows(listing, tuple(part)))
            part, size = [], 0
        part.append(flow)
        size += cost
    return [*found, Flows(listing, tuple(part))]

"""Whereabouts: which node of a config has the session of which peer, as the nodes tell each other. Pure.

A node that sees a new handshake of a peer that another node has claims it, with a count one above the last: no clocks
of two machines are compared in that. Of two claims the one with the higher count stands, then that of the node with the
higher number, so all who have heard both agree. One that has not heard the last claim counts from too low. When it
hears it, it claims again, if its handshake is the newer one; where the other node is dead by now, it never will. So the
others take a newer handshake for it as well, and a node that is not reached loses to any other. Times (s of this
agent's monotonic clock) are used for nothing else, and to keep a node from claiming by an older handshake.

What a node has to say is numbered; one that has missed something is sent what changed since.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from wgfleet.protocol.backbone import MAX_COUNT, MAX_DATAGRAM, Here, News

# Handshakes are in whole seconds: one that is not later by more than that may be the older one.
_GRANULARITY_S = 1.0
_ENTRY_BYTES = 48  # of an entry beside its networks
MAX_CLAIMS = 200_000  # of one node
MOST_NETWORKS = 400_000  # of all its claims: each may be a route of the kernel
# Between two starts of a node's agent: each has this one look at all that the node claims.
_STARTS_S = 1.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A node says that a peer's session is with it."""

    count: int
    number: int
    at: float
    networks: tuple[str, ...]

    @property
    def rank(self) -> tuple[int, int]:
        """Of two claims the one with the higher rank stands."""
        return self.count, self.number


@dataclass(slots=True)
class _Neighbor:
    """What was heard of another node: how far its news go, since which start of its agent, and what it claims."""

    epoch: int = 0
    heard: int = 0
    since: float = float("-inf")  # when this start of its agent was first heard of
    claims: dict[bytes, Claim] = field(default_factory=dict)
    networks: int = 0  # of all claims
    unrepeated: set[bytes] = field(default_factory=set)  # of those, since its agent has started again

    def put(self, key: bytes, claim: Claim) -> bool:
        """Note a claim; False: the node claims so much that its word takes up no more memory."""
        before = self.claims.get(key)
        networks = self.networks + len(claim.networks) - (0 if before is None else len(before.networks))
        if (before is None and len(self.claims) >= MAX_CLAIMS) or networks > MOST_NETWORKS:
            return False
        self.claims[key], self.networks = claim, networks
        return True

    def drop(self, key: bytes) -> bool:
        """Forget a claim; False: there is none."""
        before = self.claims.pop(key, None)
        self.networks -= 0 if before is None else len(before.networks)
        return before is not None


class Whereabouts:
    """What the node `number` knows. `epoch` is that of its own news.

    `may_claim` returns the networks of a peer: this node's own word, or what may be believed of another's.
    """

    def __init__(self, number: int, epoch: int, may_claim: Callable[[bytes, tuple[str, ...]], tuple[str, ...]]) -> None:
        self.number = number
        self.epoch = epoch
        self.upto = 0
        self._may_claim = may_claim
        self._stands: dict[bytes, Claim] = {}
        self._own: dict[bytes, Claim] = {}
        self._here: dict[bytes, float] = {}  # when a peer shook hands with this node last
        self._changed_at: dict[bytes, int] = {}  # of what others have to hear, oldest first
        self._neighbors: dict[int, _Neighbor] = {}
        self._moved: dict[bytes, Claim | None] = {}  # where peers were whose place has changed
        self._reached: Container[int] | None = None  # None: all others

    def reach(self, numbers: Collection[int]) -> None:
        """Take note of which other nodes are reached."""
        if numbers == self._reached:
            return
        before, self._reached = self._reached, frozenset(numbers)
        for number, neighbor in self._neighbors.items():
            if (before is None or number in before) is not (number in self._reached):
                for key in self._claimed_twice(neighbor):
                    self._settle(key, self._own.get(key))

    def _claimed_twice(self, neighbor: _Neighbor) -> set[bytes]:
        found = neighbor.claims.keys() & self._own.keys()
        for each in self._neighbors.values():
            if each is not neighbor:
                found |= neighbor.claims.keys() & each.claims.keys()
        return found

    def seen(self, key: bytes, at: float, networks: tuple[str, ...], *, surely: bool = False) -> None:
        """Take note of a handshake with this node. `surely`: it is the newest, since this node asked for it now."""
        if not surely and at <= self._here.get(key, float("-inf")):
            return
        self._here[key] = at
        own, stands = self._own.get(key), self._stands.get(key)
        if own is not None and own.networks == networks:
            self._own[key] = self._stands[key] = replace(own, at=at)
        elif own is not None or stands is None or surely or at > stands.at + _GRANULARITY_S:
            self._claim(key, at, networks)

    def left(self, key: bytes) -> None:
        """Take note that this node does not have a peer any more."""
        self._here.pop(key, None)
        if key in self._own:
            self._settle(key, None)

    def renew(self, key: bytes) -> None:
        """Take note that the networks of a peer may have changed."""
        networks = self._may_claim(key, ())
        if not networks:
            return
        for each in self._neighbors.values():
            if key in each.claims:
                each.put(key, replace(each.claims[key], networks=networks))
        own = self._own.get(key)
        if own is not None and own.networks != networks:
            self._claim(key, own.at, networks)
        else:
            self._settle(key, own)

    def keys(self) -> list[bytes]:
        """Return the keys of all peers of which anything is known."""
        return list(self._stands.keys() | self._here.keys())

    def heard(self, number: int, news: News, now: float) -> bool:
        """Take what another node says; tell whether something was missed before it."""
        neighbor = self._since(number, news.epoch, now)
        if neighbor is None:
            return False
        if not news.base <= neighbor.heard < news.upto:
            return news.base > neighbor.heard
        for here in news.here:
            networks = self._may_claim(here.key, here.networks)
            if networks and neighbor.put(here.key, Claim(here.count, number, now - here.age, networks)):
                neighbor.unrepeated.discard(here.key)
                self._settle(here.key, self._own.get(here.key))
        for key in news.gone:
            self._withdraw(neighbor, key)
        neighbor.heard = news.upto
        return False

    def complete(self, number: int, epoch: int, upto: int, now: float) -> None:
        """Take note of how far the news of another node go: what it did not repeat since its start has fallen."""
        neighbor = self._since(number, epoch, now)
        if neighbor is not None and neighbor.heard >= upto:
            for key in tuple(neighbor.unrepeated):
                self._withdraw(neighbor, key)

    def forget(self, number: int) -> None:
        """Drop what a node said that is none of the config any more."""
        neighbor = self._neighbors.pop(number, None)
        if neighbor is not None:
            for key in tuple(neighbor.claims):
                self._withdraw(neighbor, key)

    def heard_of(self, number: int) -> tuple[int, int]:
        """Return the epoch and the end of what was heard of another node."""
        neighbor = self._neighbors.get(number)
        return (neighbor.epoch, neighbor.heard) if neighbor is not None else (0, 0)

    def news(self, base: int, now: float, most: int) -> list[News]:
        """Return what others have to hear after `base`, in up to `most` messages that fit a datagram each."""
        found: list[News] = []
        here: list[Here] = []
        gone: list[bytes] = []
        size, start, last = 0, base, base
        # The newest are last; most calls are about a few of them.
        for key, at in self._since_base(base):
            claim = self._own.get(key)
            cost = _ENTRY_BYTES
            if claim is not None:
                cost += sum(len(each) + 2 for each in claim.networks)
            if size and size + cost > MAX_DATAGRAM:
                found.append(News(self.epoch, start, last, tuple(here), tuple(gone)))
                here, gone, size, start = [], [], 0, last
                if len(found) == most:
                    return found
            if claim is not None:
                here.append(Here(key, claim.count, max(0.0, now - claim.at), claim.networks))
            else:
                gone.append(key)
            size, last = size + cost, at
        if last > start:
            found.append(News(self.epoch, start, last, tuple(here), tuple(gone)))
        return found

    def _since_base(self, base: int) -> Iterable[tuple[bytes, int]]:
        missing = self.upto - base
        if missing <= 0:
            return []
        if missing * 2 > len(self._changed_at):  # most of it, of which the first few are enough for now
            return (each for each in self._changed_at.items() if each[1] > base)
        newest = islice(reversed(self._changed_at.items()), missing)
        found = [each for each in newest if each[1] > base]
        found.reverse()
        return found

    def take_moved(self) -> Mapping[bytes, tuple[Claim | None, Claim | None]]:
        """Return the peers whose place has changed since the last call: where they were, and where they are."""
        moved, self._moved = self._moved, {}
        return {key: (before, self._stands.get(key)) for key, before in moved.items()}

    def claim(self, key: bytes) -> Claim | None:
        """Return the claim to a peer that stands."""
        return self._stands.get(key)

    def claims(self) -> Iterable[tuple[bytes, Claim]]:
        """Return all claims that stand, by key."""
        return self._stands.items()

    def _since(self, number: int, epoch: int, now: float) -> _Neighbor | None:
        """Return what is known of a node since a start of its agent; None: it cannot have started so soon again."""
        neighbor = self._neighbors.setdefault(number, _Neighbor())
        if neighbor.epoch != epoch:
            if now - neighbor.since < _STARTS_S:
                return None
            neighbor.epoch, neighbor.heard, neighbor.since = epoch, 0, now
            neighbor.unrepeated = set(neighbor.claims)
        return neighbor

    def _withdraw(self, neighbor: _Neighbor, key: bytes) -> None:
        neighbor.unrepeated.discard(key)
        if neighbor.drop(key):
            self._settle(key, self._own.get(key))

    def _claim(self, key: bytes, at: float, networks: tuple[str, ...]) -> None:
        stands = self._stands.get(key)
        known = [each.claims[key].count for each in self._neighbors.values() if key in each.claims]
        count = min(MAX_COUNT, 1 + max((*known, stands.count if stands is not None else 0)))
        self._settle(key, Claim(count, self.number, at, networks))

    def _settle(self, key: bytes, own: Claim | None) -> None:
        """Find the claim that stands, with this one of our own, and take ours back if it is not that one."""
        claims = [each.claims[key] for each in self._neighbors.values() if key in each.claims]
        best = self._best(claims)
        ours = own is not None and (best is None or self._weight(own) > self._weight(best))
        stands = own if ours else best
        before, told = self._stands.get(key), self._own.pop(key, None)
        if stands is not None:
            self._stands[key] = stands
        else:
            self._stands.pop(key, None)
        if ours and own is not None:
            self._own[key] = own
        if self._own.get(key) != told:
            self._tell(key)
        if stands != before:
            self._moved.setdefault(key, before)
        at = self._here.get(key)
        if not ours and at is not None and (stands is None or self._can_outdo(stands, at)):
            # Its last handshake was here after all, as that of an agent that has started again.
            self._claim(key, at, self._may_claim(key, ()))

    def _best(self, claims: Collection[Claim]) -> Claim | None:
        """Return the claim of another node that stands."""
        highest = max(claims, key=self._weight, default=None)
        if highest is None:
            return None
        newer = [each for each in claims if self._weight(each)[0] and each.at > highest.at + _GRANULARITY_S]
        return max(newer, key=lambda it: (it.at, it.rank), default=highest)

    def _weight(self, claim: Claim) -> tuple[bool, tuple[int, int]]:
        here = claim.number == self.number or self._reached is None or claim.number in self._reached
        return here, claim.rank

    def _can_outdo(self, stands: Claim, at: float) -> bool:
        """Whether a handshake with this node is a newer one, and no node has claimed the peer beyond all counting."""
        return at > stands.at + _GRANULARITY_S and (MAX_COUNT, self.number) > stands.rank

    def _tell(self, key: bytes) -> None:
        self.upto += 1
        self._changed_at.pop(key, None)
        self._changed_at[key] = self.upto

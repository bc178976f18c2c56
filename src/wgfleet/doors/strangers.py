"""The connections that have not shown a credential yet: how many there may be, and which goes when there are more.

A newcomer is always let in. Where a limit is reached, another stranger goes for it: so nobody who merely sits on
connections can keep out somebody who has a credential and shows it at once. The connections of those who have shown
one are counted in the same way, with the credential as their source. Nothing here reads a clock.
"""

import ipaddress
import itertools
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

NETWORK6_BITS = 64  # what one IPv6 customer has at least; an address of it costs nothing

# struct tcp_info, linux/tcp.h: 8 bytes of states, 24 words, then 64-bit counters of which this is the fourth.
_BYTES_RECEIVED = struct.Struct("8x24I3Q1Q")


class StrangerLimits(NamedTuple):
    """How many strangers there may be at a time: of one source, of a favored source, and of all together.

    `spoken`: that many times as many of a source where all of them have sent something.
    """

    source: int
    favored: int
    total: int
    spoken: int = 1


@dataclass(eq=False, slots=True)
class Stranger:
    """One connection without a credential. `busy`: a request of it is being answered."""

    source: str
    end: Callable[[], None]
    has_spoken: Callable[[], bool]
    favored: bool
    number: int
    busy: bool = False


@dataclass(slots=True)
class Strangers:
    """All strangers of one door, by source."""

    limits: StrangerLimits
    evicted: int = 0
    _by_source: dict[str, dict[Stranger, None]] = field(default_factory=dict)
    _count: int = 0
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __len__(self) -> int:
        return self._count

    def of(self, source: str) -> int:
        """Return how many there are of a source."""
        return len(self._by_source.get(source, ()))

    def enter(
        self, source: str, end: Callable[[], None], has_spoken: Callable[[], bool], *, favored: bool = False
    ) -> Stranger:
        """Count a newcomer in. Others are ended with their `end` where there would be too many."""
        newcomer = Stranger(source, end, has_spoken, favored, next(self._numbers))
        of_source = self._by_source.setdefault(source, {})
        of_source[newcomer] = None
        self._count += 1
        limit = self.limits.favored if favored else self.limits.source
        spares_spoken = len(of_source) <= limit * self.limits.spoken
        ended = len(of_source) > limit and self._evict(source, newcomer, spares_spoken=spares_spoken)
        if not ended and self._count > self.limits.total:
            self._evict(self._crowded(), newcomer)
        return newcomer

    def leave(self, stranger: Stranger) -> None:
        """Count a stranger out: it is known now, or gone. Without effect if it was counted out before."""
        of_source = self._by_source.get(stranger.source, {})
        if stranger in of_source:
            del of_source[stranger]
            self._count -= 1
            if not of_source:
                del self._by_source[stranger.source]

    def _crowded(self) -> str:
        """Return the source with the most strangers, a favored one only where there is no other."""

        def weight(source: str) -> tuple[bool, int, int]:
            oldest = next(iter(self._by_source[source]))
            return (not oldest.favored, len(self._by_source[source]), -oldest.number)

        return max(self._by_source, key=weight)

    def _evict(self, source: str, newcomer: Stranger, *, spares_spoken: bool = False) -> bool:
        """End one of a source: idle before busy, silent before one that has sent something, old before new.

        `spares_spoken`: none where all have sent something. Tell whether one was ended.
        """
        others = [each for each in self._by_source[source] if each is not newcomer] or [newcomer]
        ranks = {each: (each.busy, each.has_spoken(), each.number) for each in others}
        gone = min(ranks, key=lambda each: ranks[each])
        if spares_spoken and any(ranks[gone][:2]):
            return False
        self.leave(gone)
        self.evicted += 1
        gone.end()
        return True


def plain_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address without its zone, and an IPv4 address as such where IPv6 has it mapped; None: it is none."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed


def source_of(address: str) -> str:
    """Return what an address counts as: an IPv4 address itself, the /64 of an IPv6 address."""
    found = plain_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((found, NETWORK6_BITS), strict=False))
    return address if found is None else str(found)


def has_sent(connection: socket.socket | None) -> bool:
    """Say whether the other side of a TCP connection has sent anything yet (tcp(7), TCP_INFO)."""
    if connection is None:
        return False
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
    except OSError:
        return False
    if len(info) < _BYTES_RECEIVED.size:
        return True  # a kernel that does not count: treat all alike
    return bool(_BYTES_RECEIVED.unpack(info)[-1])

"""Cache of an interface's last reading, kept small: a hash per peer, and the session data of active peers. Pure.

Owns the comparison of a reading with the previous one and with what is desired, so that a scan without changes parses
nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from wgfleet.agent.kernel.device_formats import Form
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.diff import same
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import ObservedPeer, PeerStats


@dataclass
class Moved:
    """Peers whose session data changed: `news` of a session (its endpoint, handshake, end), or bare `counters`."""

    news: set[PublicKey] = field(default_factory=set)
    counters: set[PublicKey] = field(default_factory=set)

    @property
    def all(self) -> set[PublicKey]:
        """Both."""
        return self.news | self.counters

    def add(self, key: PublicKey, before: PeerStats | None, after: PeerStats | None) -> None:
        """Note what has become of the session data of a peer."""
        if (
            before is None
            or after is None
            or before.endpoint != after.endpoint
            or before.latest_handshake != after.latest_handshake
        ):
            self.news.add(key)
            self.counters.discard(key)
        elif key not in self.news:
            self.counters.add(key)


@dataclass
class PeerCache:
    """The peers of one interface as last seen.

    `stats`: session data of those that were ever used. `wrong`: peers that differ from what is desired, as found (None:
    missing). All others are as desired. `moved`: whose session data changed since a comparison was last finished.
    """

    stats: dict[PublicKey, PeerStats] = field(default_factory=dict)
    wrong: dict[PublicKey, ObservedPeer | None] = field(default_factory=dict)
    moved: Moved = field(default_factory=Moved)
    hashes: set[int] | None = None  # of the last reading's blocks; None: nothing is known
    recheck: set[PublicKey] = field(default_factory=set)

    def forget(self) -> None:
        """Compare everything at the next reading: what is desired changed as a whole, or the link is new."""
        self.hashes = None

    def desired_changed(self, keys: Iterable[PublicKey]) -> None:
        """Compare these peers again at the next reading, because what is desired of them changed."""
        self.recheck.update(keys)


class Comparison:
    """One reading, block by block. If abandoned halfway, it leaves a cache that compares everything next time."""

    def __init__(self, cache: PeerCache, form: Form, desired: dict[PublicKey, DesiredPeer]) -> None:
        self._cache = cache
        self._form = form
        self._desired = desired
        self._known = cache.hashes
        self._recheck, self._unseen = cache.recheck, set(cache.recheck)
        self._hashes: set[int] = set()
        cache.hashes, cache.recheck = None, set()
        if self._known is None:
            cache.wrong = dict.fromkeys(desired)
            self._unseen.update(cache.stats)
        else:
            # Until they are seen, they count as missing if desired, and as absent if not.
            for key in self._recheck:
                cache.wrong.pop(key, None)
                if key in desired:
                    cache.wrong[key] = None

    def feed(self, blocks: list[bytes]) -> None:
        """Take in some blocks."""
        known, key_of = self._known or set(), self._form.key_of
        for block in blocks:
            seen_as = hash(block)
            self._hashes.add(seen_as)
            if seen_as not in known or (self._recheck and key_of(block) in self._recheck):
                self._take(block)

    def finish(self) -> Moved | None:
        """Return whose session data changed; None if peers vanished and all must be read again to say which."""
        cache = self._cache
        if self._known is not None:
            missing = sum(seen is None for seen in cache.wrong.values())
            extra = sum(seen is not None and key not in self._desired for key, seen in cache.wrong.items())
            # Every block's key is among those believed to be present, so equal counts mean equal sets.
            if len(self._hashes) != len(self._desired) - missing + extra:
                return None
        for key in self._unseen:
            if (before := cache.stats.pop(key, None)) is not None:
                cache.moved.add(key, before, None)
        cache.hashes = self._hashes
        moved, cache.moved = cache.moved, Moved()
        return moved

    def _take(self, block: bytes) -> None:
        cache, seen = self._cache, self._form.peer(block)
        key = seen.key
        self._unseen.discard(key)
        wanted = self._desired.get(key)
        stats = seen.stats if wanted is not None else None  # a peer that nobody wants is nobody's news
        before = cache.stats.get(key)
        if before != stats:
            cache.moved.add(key, before, stats)
            if stats is None:
                del cache.stats[key]
            else:
                cache.stats[key] = stats
        if wanted is not None and same(wanted, seen.observed):
            cache.wrong.pop(key, None)
        else:
            cache.wrong[key] = seen.observed

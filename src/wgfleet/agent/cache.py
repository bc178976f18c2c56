"""What the last readings of an interface showed, kept small: a hash per peer, and the live half of active peers.

Pure. Owns the comparison of a reading with the one before, so that a scan without changes parses nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from wgfleet.agent.readings import Reading
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.diff import same
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import ObservedPeer, PeerStats

CHUNK = 1000  # peers looked at between two chances for the event loop: about 10 ms


@dataclass
class PeerCache:
    """The peers of one interface as last seen.

    `keys`: peers that the device has. `stats`: live half of those that were ever used. `wrong`: peers that differ
    from what is desired, as found (None: missing).
    """

    keys: set[PublicKey] = field(default_factory=set)
    stats: dict[PublicKey, PeerStats] = field(default_factory=dict)
    wrong: dict[PublicKey, ObservedPeer | None] = field(default_factory=dict)
    _hashes: frozenset[int] = frozenset()
    _recheck: set[PublicKey] = field(default_factory=set)

    def forget(self) -> None:
        """Compare everything again at the next reading: what is desired changed as a whole, or the link is new."""
        self._hashes = frozenset()

    def recheck(self, keys: Iterable[PublicKey]) -> None:
        """Compare these peers again at the next reading, because what is desired of them changed."""
        self._recheck.update(keys)

    def update(self, reading: Reading, desired: dict[PublicKey, DesiredPeer]) -> Iterator[set[PublicKey]]:
        """Take in a reading. Yields after each chunk of work; each value is the keys whose live half changed."""
        hashes = [hash(block) for block in reading.blocks]
        recheck, self._recheck = self._recheck, set()
        known = self._hashes
        if recheck:
            fresh = [
                block
                for block, seen_as in zip(reading.blocks, hashes, strict=True)
                if seen_as not in known or reading.key_of(block) in recheck
            ]
        else:
            fresh = [block for block, seen_as in zip(reading.blocks, hashes, strict=True) if seen_as not in known]
        # Until this reading is taken in whole nothing counts as known, should the work be cut short.
        self._hashes = frozenset()
        for start in range(0, len(fresh), CHUNK):
            yield self._take(reading, fresh[start : start + CHUNK], desired)
        changed: set[PublicKey] = set()
        if len(self.keys) != len(reading.blocks):
            present = {reading.key_of(block) for block in reading.blocks}
            changed = self.keys - present
            for key in changed:
                self.stats.pop(key, None)
                self.wrong.pop(key, None)
            self.keys = present
        if len(self.keys) - sum(seen is not None for seen in self.wrong.values()) != len(desired):
            # Some are missing, or were and are not wanted any more.
            for key in [key for key, seen in self.wrong.items() if seen is None and key not in desired]:
                del self.wrong[key]
            self.wrong.update({key: None for key in desired if key not in self.keys})
        self._hashes = frozenset(hashes)
        yield changed

    def _take(self, reading: Reading, blocks: list[bytes], desired: dict[PublicKey, DesiredPeer]) -> set[PublicKey]:
        changed = set()
        for block in blocks:
            seen = reading.peer(block)
            key = seen.key
            self.keys.add(key)
            if self.stats.get(key) != seen.stats:
                changed.add(key)
                if seen.stats is None:
                    del self.stats[key]
                else:
                    self.stats[key] = seen.stats
            wanted = desired.get(key)
            if wanted is not None and same(wanted, seen.observed):
                self.wrong.pop(key, None)
            else:
                self.wrong[key] = seen.observed
        return changed

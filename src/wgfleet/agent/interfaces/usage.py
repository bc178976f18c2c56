"""The usage of all peers of this machine: totals that only grow, made of counters that begin again.

WireGuard's counters end with an interface, and with a peer that is taken off it. What each reading shows beyond the
last one is added here; a counter below the last reading, or of another link, began at 0 meanwhile.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from wgfleet.agent.interfaces.watch_board import ChangeSink
from wgfleet.agent.state.usage_file import ConfigUsage, PeerUsage, UsageMark, UsageState
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.usage import HOUR_S, MAX_ROWS, UsageBatch, UsageRequest, UsageRow

MAX_MARKS = 48  # hours of a peer that are kept apart while the panel is away; before them, they count to the next one
MAX_ALL_MARKS = 50_000  # of all peers: some 2 MB of the file
RESERVED = 50  # numbers of batches that may be given away before the file says so; an older copy of it is found so


@dataclass
class UsageMeter:
    """Counts. `number` returns a random one of 62 bits; `machine`: the boot and the namespace of all links.

    `fresh`: what was counted before is not known, so counting begins with the first reading of what is there.
    `changed`: there is something that the file does not have; `urgent`: and that cannot be read again; `first`: and
    that it must have before anybody learns of it, the name of a counter or the number of a batch. The next run of an
    agent that was killed would else count the same again under another name.
    """

    state: UsageState = field(default_factory=lambda: UsageState("", 0, {}))
    number: Callable[[], int] = lambda: secrets.randbits(62)
    machine: str = ""
    fresh: bool = False
    changed: bool = False
    urgent: bool = False
    first: bool = False
    _adopted: set[ConfigId] = field(default_factory=set)
    _sequence: int = 0
    _in_flight: tuple[str, int, Mapping[ConfigId, tuple[UsageRow, ...]]] | None = None
    _waiting: deque[tuple[ConfigId, PublicKey]] = field(default_factory=deque)  # who is still to be told of

    def __post_init__(self) -> None:
        """Go on after all numbers that may have been given away before."""
        self.state.epoch = self.state.epoch or f"{self.number():x}"
        self._sequence = self.state.reserved
        self._reserve()

    def kept_before(self, config_id: ConfigId) -> None:
        """Note that an interface may be there since before this run of the agent."""
        if self.fresh:
            self._adopted.add(config_id)

    def begin_here(self, config_id: ConfigId) -> None:
        """Note that a link was another program's until now: what its counters have is not ours to count."""
        self._adopted.add(config_id)

    def note(
        self,
        config_id: ConfigId,
        index: int,
        keys: Iterable[PublicKey],
        stats: Mapping[PublicKey, PeerStats],
        desired: Mapping[PublicKey, DesiredPeer],
        at: float,
    ) -> None:
        """Take a reading of the link `index`: of the peers `keys`, whose data changed. Probes are not counted."""
        config = self.state.configs.setdefault(config_id, ConfigUsage())
        adopting = config_id in self._adopted
        self._adopted.discard(config_id)
        link = f"{self.machine}/{index}"
        if config.link != link:
            config.link = link
            for each in config.peers.values():
                each.seen = None
            self.changed = True
        most = self._most_marks()
        for key in keys:
            seen, counted = stats.get(key), config.peers.get(key)
            if seen is None:
                if counted is not None and counted.seen is not None:
                    counted.seen, self.changed, self.urgent = None, True, True
                continue
            if counted is None:
                if key not in desired or not desired[key].allowed_ips:
                    continue
                counted = config.peers[key] = PeerUsage(self.number())
                self.first = True
                counted.seen = (seen.rx, seen.tx) if adopting else None
            _count(counted, seen, int(at), most)
            self.changed = True

    def total(self, config_id: ConfigId, key: PublicKey) -> tuple[int | None, int]:
        """Return a peer's counter and what it has come to, both directions together; None: it has counted nothing."""
        config = self.state.configs.get(config_id)
        counted = None if config is None else config.peers.get(key)
        return (None, 0) if counted is None else (counted.life, counted.received + counted.sent)

    def ended(self, config_id: ConfigId) -> None:
        """Note that an interface is about to be removed: the counters of the next one begin at 0."""
        config = self.state.configs.get(config_id)
        if config is not None:
            config.link = ""
            for each in config.peers.values():
                each.seen = None
            self.changed = self.urgent = True

    def batch(self, request: UsageRequest, now: float) -> UsageBatch:
        """Forget what the panel has acknowledged; return what it has not. With `first` set, write, then say it."""
        self._acknowledge(request)
        self._sequence += 1
        self._reserve()
        if self._in_flight is not None or not self._waiting:  # what was said last may be lost
            self._waiting = self._untold()
        rows: dict[ConfigId, list[UsageRow]] = {}
        room = MAX_ROWS
        while self._waiting and room > 0:
            config_id, key = self._waiting[0]
            said = self._rows(config_id, key)
            if said[:room]:
                rows.setdefault(config_id, []).extend(said[:room])
            if len(said) <= room:
                self._waiting.popleft()
            room -= len(said)
        whole = {config_id: tuple(each) for config_id, each in rows.items()}
        self._in_flight = (self.state.epoch, self._sequence, whole)
        return UsageBatch(self.state.epoch, self._sequence, now, whole, more=bool(self._waiting))

    def batch_without_file(self, request: UsageRequest, now: float, reserved: int) -> UsageBatch:
        """As `batch`, where a file that cannot be written has `reserved`: the next run sees that the panel knows more.

        It forgets then what it has of before, and tells nothing twice.
        """
        self._sequence = max(self._sequence, reserved)
        return self.batch(request, now)

    def _untold(self) -> deque[tuple[ConfigId, PublicKey]]:
        """Return who used something that the panel does not know. Each has its turn before anybody has a second.

        Else peers that use something all the time would come before the others in every batch.
        """
        configs = self.state.configs.items()
        return deque(
            (config_id, key) for config_id, each in configs for key, counted in each.peers.items() if counted.marks
        )

    def _rows(self, config_id: ConfigId, key: PublicKey) -> list[UsageRow]:
        config = self.state.configs.get(config_id)
        counted = None if config is None else config.peers.get(key)
        if counted is None:
            return []
        return [UsageRow(key, counted.life, mark.at, mark.received, mark.sent) for mark in counted.marks]

    def _acknowledge(self, request: UsageRequest) -> None:
        if request.epoch == self.state.epoch and request.sequence > self._sequence:
            # It has seen more than was ever sent from here: this state is an older copy, whose totals it has long had.
            self._begin_anew()
            return
        if self._in_flight is None or self._in_flight[:2] != (request.epoch, request.sequence):
            return
        for config_id, rows in self._in_flight[2].items():
            config = self.state.configs.get(config_id)
            if config is None:
                continue
            for row in rows:
                _told(config.peers, row)
            if not config.link and not config.peers:
                del self.state.configs[config_id]
        self._in_flight = None
        self.changed = True

    def _begin_anew(self) -> None:
        self.state.epoch, self.state.reserved = f"{self.number():x}", 0
        self._sequence, self._in_flight = 0, None
        for config in self.state.configs.values():
            config.peers = {key: PeerUsage(self.number(), seen=each.seen) for key, each in config.peers.items()}
        self._reserve()

    def _reserve(self) -> None:
        if self._sequence + RESERVED // 2 > self.state.reserved:
            self.state.reserved = self._sequence + RESERVED
            self.changed = self.urgent = self.first = True

    def _most_marks(self) -> int:
        peers = sum(len(each.peers) for each in self.state.configs.values())
        return max(2, min(MAX_MARKS, MAX_ALL_MARKS // max(1, peers)))


class CountedInterface(Protocol):
    """An interface whose peers' usage is counted."""

    @property
    def config_id(self) -> ConfigId: ...
    @property
    def interface_index(self) -> int | None: ...
    @property
    def stats(self) -> dict[PublicKey, PeerStats]: ...
    @property
    def desired(self) -> DesiredInterface: ...

    async def count_usage(self) -> None: ...


class CountedChanges:
    """The changes of `interfaces` on their way to the `board`: what peers have used is counted as it passes."""

    def __init__(
        self, board: ChangeSink, meter: UsageMeter, interfaces: Mapping[InterfaceName, CountedInterface]
    ) -> None:
        self.meter = meter
        self._board = board
        self._interfaces = interfaces

    def changed(self, name: InterfaceName, peers: Iterable[PublicKey] = (), counted: Iterable[PublicKey] = ()) -> None:
        """Count, and pass it on."""
        news, bare, each = tuple(peers), tuple(counted), self._interfaces.get(name)
        keys = (*news, *bare)
        if keys and each is not None and each.interface_index is not None:
            index, peers = each.interface_index, each.desired.peers
            self.meter.note(each.config_id, index, keys, each.stats, peers, time.time())
        self._board.changed(name, news, bare)

    async def ending(self, each: CountedInterface) -> None:
        """Count a last time: the interface is about to be removed."""
        await each.count_usage()
        self.meter.ended(each.config_id)


def _count(counted: PeerUsage, seen: PeerStats, at: int, most: int) -> None:
    before = counted.seen
    # Both counters begin again together: one that is below its last reading says so of the other.
    if before is None or seen.rx < before[0] or seen.tx < before[1]:
        before = (0, 0)
    counted.seen = (seen.rx, seen.tx)
    if counted.seen == before:
        return
    counted.received += seen.rx - before[0]
    counted.sent += seen.tx - before[1]
    mark = UsageMark(at, counted.received, counted.sent)
    if counted.marks and counted.marks[-1].at // HOUR_S == at // HOUR_S:
        counted.marks[-1] = mark
    else:
        counted.marks.append(mark)
        del counted.marks[:-most]


def _told(peers: dict[PublicKey, PeerUsage], row: UsageRow) -> None:
    """Forget what a row has told, and a peer that is not on the link any more and of which nothing is left to tell."""
    key = PublicKey(row.public_key)
    counted = peers.get(key)
    if counted is None or counted.life != row.life:
        return
    counted.marks = [mark for mark in counted.marks if mark.received > row.received or mark.sent > row.sent]
    if counted.seen is None and not counted.marks:
        del peers[key]

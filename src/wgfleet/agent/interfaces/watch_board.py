"""The watch stream: the current state, and for each reader what has changed since its last message.

No queue per reader: a slow reader gets its changes merged, so its memory is bounded by the state itself. A reader may
have bare counters held back: a live peer shakes hands every two minutes, and that news brings them.
"""

import asyncio
import collections
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from wgfleet.protocol.diff import Drift
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import (
    HEARTBEAT_S,
    LOAD_S,
    AgentStatus,
    CallBack,
    Change,
    Forwarding,
    Heartbeat,
    InterfaceReport,
    Load,
    Refused,
    Snapshot,
    WatchMessage,
)
from wgfleet.protocol.observed import PeerStats

MAX_READERS = 16
_MAX_REFUSED = 100  # kept while there is no reader, and per reader
MAX_DRIFT = 100  # drifted fields in a report: a wholly wrong interface needs no thousand examples


class ChangeSink(Protocol):
    """What takes note of changes."""

    def changed(
        self, name: InterfaceName, peers: Iterable[PublicKey] = (), counted: Iterable[PublicKey] = ()
    ) -> None: ...


class BoardEntry(Protocol):
    """An interface as the stream reports it."""

    name: InterfaceName

    @property
    def config_id(self) -> ConfigId: ...
    @property
    def generation(self) -> Generation: ...
    @property
    def history(self) -> str: ...
    @property
    def up(self) -> bool: ...
    @property
    def summary(self) -> str: ...
    @property
    def drift(self) -> tuple[Drift, ...]: ...
    @property
    def held(self) -> tuple[str, ...] | None: ...
    @property
    def rivals(self) -> dict[str, str]: ...

    muted: str | None
    carries: bool

    @property
    def called_back(self) -> CallBack | None: ...
    @property
    def forwarding(self) -> tuple[Forwarding, ...]: ...
    @property
    def stats(self) -> dict[PublicKey, PeerStats]: ...


@dataclass
class _Reader:
    since: float
    holds_back_s: float
    held_back: dict[InterfaceName, dict[PublicKey, float]] = field(default_factory=dict)
    """Peers that only counted, and since when, the oldest first."""
    changed: dict[InterfaceName, set[PublicKey]] = field(default_factory=dict)
    gone: set[InterfaceName] = field(default_factory=set)
    refused: collections.deque[Refused] = field(default_factory=lambda: collections.deque(maxlen=_MAX_REFUSED))
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, name: InterfaceName, news: Iterable[PublicKey], counted: Iterable[PublicKey], now: float) -> None:
        """Take note of a change: at once, but for peers that only counted where those are held back."""
        news, bare = (news, counted) if self.holds_back_s else ((*news, *counted), ())
        held = self.held_back.setdefault(name, {})
        for key in news:
            held.pop(key, None)
        for key in bare:
            held.setdefault(key, now)
        if news or not bare:
            self.changed.setdefault(name, set()).update(news)
            self.woken.set()
        self.gone.discard(name)

    def look(self, now: float) -> None:
        """Have those be due that were held back for long enough."""
        until = now - self.holds_back_s
        for name, held in self.held_back.items():
            due = [key for key, _ in itertools.takewhile(lambda each: each[1] <= until, held.items())]
            for key in due:
                del held[key]
            if due:
                self.changed.setdefault(name, set()).update(due)


class WatchBoard:
    """Takes changes from the interfaces and hands them to any number of readers."""

    def __init__(
        self,
        entries: Callable[[], Iterable[BoardEntry]],
        clock: Callable[[], float],
        load: Callable[[], Load | None],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries = entries
        self._clock = clock
        self._steady = steady
        self._load = load
        self._readers: list[_Reader] = []
        self._unread: collections.deque[Refused] = collections.deque(maxlen=_MAX_REFUSED)

    @property
    def readers(self) -> int:
        """How many are reading now."""
        return len(self._readers)

    @property
    def read_for_s(self) -> float:
        """For how long somebody has been reading by now; 0 while nobody does."""
        return max((self._steady() - reader.since for reader in self._readers), default=0.0)

    def changed(self, name: InterfaceName, peers: Iterable[PublicKey] = (), counted: Iterable[PublicKey] = ()) -> None:
        """Note that an interface changed, and the session data of these peers; of those in `counted` only counters."""
        news, bare, now = tuple(peers), tuple(counted), self._steady()
        for reader in self._readers:
            reader.note(name, news, bare, now)

    def hold_back(self, seconds: float) -> None:
        """Have the counters of peers without other news wait that long from now on, for all who read."""
        for reader in self._readers:
            if reader.holds_back_s != seconds:
                reader.holds_back_s = seconds
                reader.woken.set()

    def gone(self, name: InterfaceName) -> None:
        """Note that the agent no longer keeps an interface."""
        for reader in self._readers:
            reader.changed.pop(name, None)
            reader.held_back.pop(name, None)
            reader.gone.add(name)
            reader.woken.set()

    def refused(self, remote: str, reason: str, count: int = 1) -> None:
        """Note `count` clients that were refused; kept for the next reader while there is none."""
        message = Refused(self._clock(), remote, reason, count)
        if not self._readers:
            self._unread.append(message)
        for reader in self._readers:
            reader.refused.append(message)
            reader.woken.set()

    async def watch(self, status: Callable[[], AgentStatus], holds_back_s: float = 0.0) -> AsyncIterator[WatchMessage]:
        """Yield the whole state, then changes and heartbeats as they come, some with the load.

        `holds_back_s`: for how long counters of a peer that does nothing else wait.
        """
        loop = asyncio.get_running_loop()
        reader = _Reader(self._steady(), holds_back_s)
        self._readers.append(reader)
        try:
            yield Snapshot(status(), tuple(report(entry) for entry in self._entries()), self._steady())
            reader.refused.extend(self._unread)
            self._unread.clear()
            beat = load_due = loop.time()
            while True:
                for message in self._pending(reader):
                    yield message
                if loop.time() >= beat:
                    load = self._load() if loop.time() >= load_due else None
                    if load is not None:
                        load_due = loop.time() + LOAD_S
                    yield Heartbeat(self._clock(), load, self._steady())
                    # Not `beat += HEARTBEAT_S`: a reader that was stuck gets no burst of old beats.
                    beat = loop.time() + HEARTBEAT_S
                try:
                    async with asyncio.timeout_at(beat):
                        await reader.woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._readers.remove(reader)

    def _pending(self, reader: _Reader) -> list[WatchMessage]:
        reader.woken.clear()
        reader.look(self._steady())
        messages: list[WatchMessage] = []
        if reader.changed or reader.gone:
            entries = {entry.name: entry for entry in self._entries()}
            reports = tuple(report(entries[name], keys) for name, keys in reader.changed.items() if name in entries)
            messages.append(Change(self._clock(), reports, tuple(reader.gone), self._steady()))
            reader.changed, reader.gone = {}, set()
        while reader.refused:
            messages.append(reader.refused.popleft())
        return messages


def report(entry: BoardEntry, keys: Iterable[PublicKey] | None = None) -> InterfaceReport:
    """Report an interface: with all its active peers, or only these, where those without session data are removed."""
    removed: tuple[PublicKey, ...] = ()
    if keys is None:
        peers = dict(entry.stats)
    else:
        peers = {key: entry.stats[key] for key in keys if key in entry.stats}
        removed = tuple(key for key in keys if key not in entry.stats)
    return InterfaceReport(
        name=entry.name,
        config_id=entry.config_id,
        generation=entry.generation,
        up=entry.up,
        summary=entry.summary,
        drift=entry.drift[:MAX_DRIFT],
        held=entry.held,
        rivals=entry.rivals,
        muted=entry.muted,
        peers=peers,
        removed_peers=removed,
        history=entry.history,
        called_back=entry.called_back,
        forwarding=entry.forwarding,
        carries=entry.carries,
    )

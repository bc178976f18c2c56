"""The watch stream: what is current, and for each reader what of it changed since its last message.

No queue per reader: a slow one finds its changes merged, so its memory is bounded by the state itself.
"""

import asyncio
import collections
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
    Change,
    Heartbeat,
    InterfaceReport,
    Load,
    Refused,
    Snapshot,
    WatchMessage,
)
from wgfleet.protocol.observed import PeerStats

MAX_READERS = 16
_MAX_REFUSED = 100  # kept while nobody listens, and per reader
MAX_DRIFT = 100  # lines of drift in a report: a wholly wrong interface needs no thousand examples


class View(Protocol):
    """An interface as the stream reports it."""

    name: InterfaceName

    @property
    def config_id(self) -> ConfigId: ...
    @property
    def generation(self) -> Generation: ...
    @property
    def up(self) -> bool: ...
    @property
    def summary(self) -> str: ...
    @property
    def drift(self) -> tuple[Drift, ...]: ...
    @property
    def held(self) -> tuple[str, ...] | None: ...
    @property
    def stats(self) -> dict[PublicKey, PeerStats]: ...


@dataclass
class _Reader:
    changed: dict[InterfaceName, set[PublicKey]] = field(default_factory=dict)
    gone: set[InterfaceName] = field(default_factory=set)
    refused: collections.deque[Refused] = field(default_factory=lambda: collections.deque(maxlen=_MAX_REFUSED))
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Board:
    """Takes changes from the interfaces and hands them to any number of readers."""

    def __init__(
        self, views: Callable[[], Iterable[View]], clock: Callable[[], float], load: Callable[[], Load | None]
    ) -> None:
        self._views = views
        self._clock = clock
        self._load = load
        self._readers: list[_Reader] = []
        self._unread: collections.deque[Refused] = collections.deque(maxlen=_MAX_REFUSED)

    @property
    def readers(self) -> int:
        """How many are reading now."""
        return len(self._readers)

    def changed(self, name: InterfaceName, peers: Iterable[PublicKey] = ()) -> None:
        """Note that an interface changed, and the live half of these peers of it."""
        for reader in self._readers:
            reader.changed.setdefault(name, set()).update(peers)
            reader.gone.discard(name)
            reader.woken.set()

    def gone(self, name: InterfaceName) -> None:
        """Note that the agent no longer keeps an interface."""
        for reader in self._readers:
            reader.changed.pop(name, None)
            reader.gone.add(name)
            reader.woken.set()

    def refused(self, remote: str, reason: str) -> None:
        """Note a caller that was turned away; kept for the next reader while there is none."""
        message = Refused(self._clock(), remote, reason)
        if not self._readers:
            self._unread.append(message)
        for reader in self._readers:
            reader.refused.append(message)
            reader.woken.set()

    async def watch(self, status: Callable[[], AgentStatus]) -> AsyncIterator[WatchMessage]:
        """Yield the whole state, then changes as they come, heartbeats, and in some of these the load."""
        loop = asyncio.get_running_loop()
        reader = _Reader()
        self._readers.append(reader)
        try:
            yield Snapshot(status(), tuple(report(view) for view in self._views()))
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
                    yield Heartbeat(self._clock(), load)
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
        messages: list[WatchMessage] = []
        if reader.changed or reader.gone:
            views = {view.name: view for view in self._views()}
            reports = tuple(report(views[name], keys) for name, keys in reader.changed.items() if name in views)
            messages.append(Change(self._clock(), reports, tuple(reader.gone)))
            reader.changed, reader.gone = {}, set()
        while reader.refused:
            messages.append(reader.refused.popleft())
        return messages


def report(view: View, keys: Iterable[PublicKey] | None = None) -> InterfaceReport:
    """Report an interface: with all its active peers, or with these only, those without a live half as removed."""
    removed: tuple[PublicKey, ...] = ()
    if keys is None:
        peers = dict(view.stats)
    else:
        peers = {key: view.stats[key] for key in keys if key in view.stats}
        removed = tuple(key for key in keys if key not in view.stats)
    return InterfaceReport(
        name=view.name,
        config_id=view.config_id,
        generation=view.generation,
        up=view.up,
        summary=view.summary,
        drift=view.drift[:MAX_DRIFT],
        held=view.held,
        peers=peers,
        removed_peers=removed,
    )

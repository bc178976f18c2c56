"""Live sessions of one interface: whose counters move in a scan, whose handshake is due, and their JSON.

A counter is a time, so that a row tells by itself how old it is: bytes received are ms since `EPOCH_S`.
"""

import time
from collections.abc import Iterable, Mapping
from itertools import takewhile

from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.usage import UsageRow

EPOCH_S = 1_700_000_000
HANDSHAKE_S = 120.0  # a live WireGuard session shakes hands again after this (REKEY_AFTER_TIME)
_PER_ADDRESS = 1 << 17  # endpoints of 198.18.0.0/15 with the same port


def endpoint_of(number: int) -> str:
    """Return where the client of that number is."""
    port, host = divmod(number, _PER_ADDRESS)
    return f"198.{18 + (host >> 16)}.{host >> 8 & 255}.{host & 255}:{10_000 + port}"


def age_s(rx: int, now: float) -> float:
    """Return how many s ago a counter moved; `now` is in s since the epoch."""
    return now - EPOCH_S - rx / 1000


class LiveSessions:
    """Peers with where they are. `share` of them (0 to 1) move their counters in a scan, one after another."""

    def __init__(self, endpoints: Mapping[str, str], share: float) -> None:
        self.keys: list[str] = []
        self._share = share
        self._heads: list[str] = []
        self._handshakes: list[int] = []
        self._moved_ms: list[int] = []
        self._next_move = self._next_handshake = 0
        self._scanned_at = time.time()
        self._owed = 0.0  # handshakes
        self._news: list[int] = []
        self._held_back: dict[int, float] = {}
        """Those that only counted, and since when, the oldest first."""
        count = max(len(endpoints), 1)
        self.add(endpoints, [int(self._scanned_at - HANDSHAKE_S * (1 - i / count)) for i in range(len(endpoints))])

    def add(self, endpoints: Mapping[str, str], handshakes: Iterable[int]) -> None:
        """Take peers in; the next scan reports them."""
        for (key, endpoint), handshake in zip(endpoints.items(), handshakes, strict=True):
            self._news.append(len(self.keys))
            self.keys.append(key)
            self._heads.append(f'"{key}":{{"endpoint":"{endpoint}","latest_handshake":')
            self._handshakes.append(handshake)
            self._moved_ms.append(now_ms(time.time()))

    @property
    def move_every(self) -> float:
        """In how many scans each counter moves once."""
        return 1 / self._share if self._share else float("inf")

    def whole(self) -> str:
        """Return all, as the fields of a JSON object."""
        self._news = []
        return ",".join(map(self._rendered, range(len(self.keys))))

    def scan(self, now: float, holds_back_s: float = 0.0) -> tuple[str, int]:
        """Move what moves until `now`; return what changed as fields of a JSON object, and how many peers that are.

        `holds_back_s`: for how long a peer that only counts is not said.
        """
        count = len(self.keys)
        if not count:
            return "", 0
        self._owed += count * (now - self._scanned_at) / HANDSHAKE_S
        self._scanned_at = now
        ms, shaken = now_ms(now), min(int(self._owed), count)
        self._owed -= shaken
        changed = dict.fromkeys(self._news)
        self._news = []
        for i in range(self._next_handshake, self._next_handshake + shaken):
            self._handshakes[i % count] = int(now)
            changed[i % count] = None
        for i in changed:
            self._moved_ms[i] = ms
            self._held_back.pop(i, None)
        self._next_handshake = (self._next_handshake + shaken) % count
        moving = round(count * self._share)
        for i in range(self._next_move, self._next_move + moving):
            self._moved_ms[i % count] = ms
            if i % count not in changed:
                self._held_back.setdefault(i % count, now)
        self._next_move = (self._next_move + moving) % count
        due = list(takewhile(lambda i: now - self._held_back[i] >= holds_back_s, self._held_back))
        for i in due:
            del self._held_back[i]
        changed |= dict.fromkeys(due)
        return ",".join(map(self._rendered, changed)), len(changed)

    def used(self, since_ms: int) -> list[UsageRow]:
        """Return the usage, since this process began, of peers that moved after a time (ms since `EPOCH_S`)."""
        return [
            UsageRow(PublicKey(key), 1, EPOCH_S + moved // 1000, moved - _STARTED_MS, 3 * (moved - _STARTED_MS))
            for key, moved in zip(self.keys, self._moved_ms, strict=True)
            if moved > since_ms
        ]

    def _rendered(self, i: int) -> str:
        ms = self._moved_ms[i]
        return f'{self._heads[i]}{self._handshakes[i]},"rx":{ms},"tx":{3 * ms}}}'


def now_ms(now: float) -> int:
    """Return a time in s since the epoch as counters have it."""
    return int((now - EPOCH_S) * 1000)


_STARTED_MS = now_ms(time.time())

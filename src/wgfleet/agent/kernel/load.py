"""The load of this machine: processors, memory, and the link of the default route. Reads /proc when asked, and no more.

A `Load` covers the time since the one before, so somebody has to ask at a steady pace.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from wgfleet.agent.kernel.link_speed import speed_bps
from wgfleet.protocol.messages import LOAD_S, Load

_PROC = Path("/proc")
_LEAST_S = 1.0  # a reading covers at least this, or its figures mean nothing
_MOST_S = 3 * LOAD_S  # after this the last reading is outdated: a new one begins
_UP = 1  # RTF_UP


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters that only grow: time of all processors (any unit), their idle part; bytes of the uplink."""

    at: float
    total: int
    idle: int
    link: str | None
    received: int
    sent: int


class LoadMeter:
    """Measures from one reading to the next; within a `LOAD_S` the answer stays the same."""

    def __init__(self) -> None:
        self._before = read_counters()
        self._load: Load | None = None

    def load(self) -> Load | None:
        """Return the load of about the last `LOAD_S`; None while too little was measured."""
        now = time.monotonic()
        age = now - self._before.at
        if age < (_LEAST_S if self._load is None else LOAD_S / 2):
            return self._load
        counters = read_counters()
        speed = None if counters.link is None else speed_bps(counters.link)
        self._load = None if age > _MOST_S else between(self._before, counters, memory_used(), speed)
        self._before = counters
        return self._load


def between(before: Counters, after: Counters, memory: float, speed: float | None) -> Load:
    """Return the load between two readings; `speed` of the link in bits/s, None if unknown."""
    total, idle = after.total - before.total, after.idle - before.idle
    busier = 0
    if before.link == after.link:  # otherwise the counters are of another link
        busier = max(after.received - before.received, after.sent - before.sent, 0)
    bps = busier * 8 / (after.at - before.at)
    return Load(
        cpu=round(_share(total - idle, total), 4),
        memory=round(memory, 4),
        bandwidth=None if speed is None else round(_share(bps, speed), 4),
        bandwidth_bps=round(bps, 1),
    )


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


def read_counters() -> Counters:
    """Read the machine's counters now."""
    total, idle = parse_stat((_PROC / "stat").read_text(encoding="ascii"))
    link = uplink(_read_if_there("net/route"), _read_if_there("net/ipv6_route"))
    received, sent = parse_traffic(_read_if_there("net/dev"), link)
    return Counters(time.monotonic(), total, idle, link, received, sent)


def memory_used() -> float:
    """Return the share of memory that is not available (proc(5), MemAvailable)."""
    lines = dict(line.split(":", 1) for line in (_PROC / "meminfo").read_text(encoding="ascii").splitlines())
    whole, available = (int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    return _share(whole - available, whole)


def parse_stat(text: str) -> tuple[int, int]:
    """Return total and idle time of all processors (proc(5), stat); waiting for disks is idle, guests count once."""
    fields = [int(field) for field in text.split("\n", 1)[0].split()[1:]]
    return sum(fields[:8]), fields[3] + fields[4]


def uplink(routes: str, routes6: str) -> str | None:
    """Return the link of the default route with the least metric, of IPv4 if there is one (proc(5), net/route)."""
    found = []
    for line in routes.splitlines()[1:]:
        link, destination, _, flags, _, _, metric, mask, *_ = line.split()
        if destination == mask == "00000000" and int(flags, 16) & _UP:
            found.append((int(metric), link))
    if not found:
        for line in routes6.splitlines():
            destination, length, *_, metric, _, _, flags, link = line.split()
            if set(destination) == {"0"} and length == "00" and int(flags, 16) & _UP and link != "lo":
                found.append((int(metric, 16), link))
    return min(found)[1] if found else None


def parse_traffic(text: str, link: str | None) -> tuple[int, int]:
    """Return the bytes that a link has received and sent (proc(5), net/dev)."""
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        if colon and name.strip() == link:
            fields = rest.split()
            return int(fields[0]), int(fields[8])
    return 0, 0


def _read_if_there(name: str) -> str:
    try:
        return (_PROC / name).read_text(encoding="ascii")
    except FileNotFoundError:  # a kernel without that IP version
        return ""

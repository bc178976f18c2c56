"""A count of what a client loses: unbroken `ping`s from first to last packet, read back from their own output.

One ping sends at most `RATE_EACH` packets/s: above that it spins between two packets, and twenty of them would take
the cores that the nodes need. A higher rate is several pings at once, shifted when they begin; after a while the
machine's timer has them send in the same millisecond.

What is counted. `sent`: echo requests sent from the start until `measure`. `lost`: those of them that had no reply
when ping was ended, so that a packet in flight is neither lost nor left out: `GRACE_S` later, or when a later packet
was answered if that takes longer, as on a machine with much to do (`SETTLED_S` at most). `worst_gap_ms`: the
longest time between two consecutive replies as ping stamped them (-D), whichever of the client's pings sent the
packets, or between the last reply and `measure` if that is longer; nothing is subtracted, so at 100 packets/s an
undisturbed run shows a little more than 10 ms. `later_gap_ms`: the same from a given moment on, 0 without one.
"""

import math
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.waiting import look_for, wait_for

GRACE_S = 1.0
SETTLED_S = 10.0
_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=(\d+) ")
_SO_FAR = re.compile(r"\d+/(\d+) packets, \d+% loss")  # received/transmitted
RATE_EACH = 50.0  # packets/s; ping spins when the next packet is due within 10 ms
_WRITTEN_S, _LOOK_S = 60.0, 0.02
_SEQUENCES = 65536  # icmp_seq has 16 bits (RFC 792)


@dataclass(frozen=True, slots=True)
class Count:
    """What one client saw; `worst_gap_at` is when the worst gap ended, in s since the epoch."""

    client: str
    sent: int
    lost: int
    worst_gap_ms: float
    worst_gap_at: float
    later_gap_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Ping:
    """A client that pings, and what each of its pings writes."""

    host: Host
    logs: tuple[Path, ...]


def start(hosts: Sequence[Host], target: str, *, rate: float) -> list[Ping]:
    """Ping `target` from every host, `rate` packets/s each, and return once each has had a reply."""
    each = math.ceil(rate / RATE_EACH)
    command = ["ping", "-D", "-n", "-i", f"{each / rate:.4f}", target]
    name = f"ping-{time.monotonic_ns()}"
    logs: dict[str, list[Path]] = {host.name: [] for host in hosts}
    for number in range(each):
        for host in hosts:
            logs[host.name].append(host.start(command, f"{name}-{number}"))
        time.sleep(1 / rate)
    pings = [Ping(host, tuple(logs[host.name])) for host in hosts]
    for ping in pings:
        ping.host.favour("ping", "-D")
        _wait_written(ping, "bytes from", f"{ping.host.name} gets no reply from {target} (--logs DIR keeps the logs)")
    return pings


def measure(pings: Sequence[Ping], since: float = math.inf) -> list[Count]:
    """End the pings and count; `since`: the moment of `later_gap_ms`, in s since the epoch."""
    until: dict[str, float] = {}
    for ping in pings:
        if ping.host.name not in until:  # all pings of a host say it at once, and the first answer counts
            ping.host.signal(signal.SIGQUIT, "ping", "-D")  # makes ping say how many it has sent so far
            until[ping.host.name] = time.time()
    time.sleep(GRACE_S)
    logs = [(ping.host.name, log) for ping in pings for log in ping.logs]
    look_for(lambda: all(settled(name, _text(log)) for name, log in logs), within_s=SETTLED_S - GRACE_S, every_s=0.2)
    for ping in pings:
        ping.host.signal(signal.SIGINT, "ping", "-D")
    for ping in pings:
        _wait_written(ping, "packets transmitted", f"ping on {ping.host.name} does not end")
    return [count(ping.host.name, [_text(log) for log in ping.logs], until[ping.host.name], since) for ping in pings]


def _wait_written(ping: Ping, words: str, otherwise: str) -> None:
    """Wait until each of a client's pings has written something."""
    wait_for(lambda: all(words in _text(log) for log in ping.logs), otherwise, within_s=_WRITTEN_S, every_s=_LOOK_S)


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def count(client: str, texts: Sequence[str], until: float, since: float = math.inf) -> Count:
    """Read the output of a client's pings (pure)."""
    sent, times = 0, []
    for text in texts:
        number, replies, _ = _read(client, text)
        sent += number
        times += replies
    times.sort()
    ends = [*times[1:], until]
    gaps = [(end - begin, end) for begin, end in zip(times, ends, strict=True)]
    worst, worst_at = max(gaps, default=(float("inf"), until))
    later = max((min(gap, end - since) for gap, end in gaps if end > since), default=0.0)
    return Count(client, sent, sent - len(times), round(worst * 1000, 1), worst_at, round(later * 1000, 1))


def settled(client: str, text: str) -> bool:
    """Whether what a ping had sent when it was asked is answered, or lost: a later packet is answered (pure)."""
    if _SO_FAR.search(text) is None:
        return False
    sent, replies, newest = _read(client, text)
    return len(replies) == sent or newest > sent


def _read(client: str, text: str) -> tuple[int, list[float], int]:
    """Return how many packets a ping had sent when it was asked, when those were answered, and the newest answered."""
    so_far = _SO_FAR.search(text)
    if so_far is None:
        raise LabError(f"ping on {client} did not say how many packets it sent: {text[-500:]}")
    sent, previous = int(so_far[1]), 0
    answered: set[int] = set()
    times: list[float] = []
    for line in text.splitlines():
        reply = _REPLY.match(line)
        if reply is None:
            continue
        sequence = int(reply[2])
        # The nearest number to the one before that has these 16 bits.
        sequence += round((previous - sequence) / _SEQUENCES) * _SEQUENCES
        previous = sequence
        if sequence <= sent and sequence not in answered:
            answered.add(sequence)
            times.append(float(reply[1]))
    return sent, times, previous

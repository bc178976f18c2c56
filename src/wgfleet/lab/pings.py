"""Counts what a client loses: one unbroken `ping` from first to last packet, read back from its own output.

What is counted. `sent`: echo requests sent from the start until `measure`. `lost`: those of them that had no reply
when ping was ended, `GRACE_S` later, so that a packet in flight is neither lost nor left out. `worst_gap_ms`: the
longest time between two consecutive replies as ping stamped them (-D), or between the last reply and `measure` if that
is longer; nothing is subtracted, so at 100 packets/s an undisturbed run shows a little more than 10 ms.
"""

import re
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host

GRACE_S = 1.0
_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=(\d+) ")
_SO_FAR = re.compile(r"(\d+)/\d+ packets, \d+% loss")
_SEQUENCES = 65536  # icmp_seq has 16 bits (RFC 792)


@dataclass(frozen=True, slots=True)
class Count:
    """What one client saw; `worst_gap_at` is when the worst gap ended, in s since the epoch."""

    client: str
    sent: int
    lost: int
    worst_gap_ms: float
    worst_gap_at: float


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping that runs."""

    host: Host
    log: Path


def start(hosts: Iterable[Host], target: str, *, rate: float) -> list[Ping]:
    """Ping `target` from every host, `rate` packets/s each, and return once each has had a reply."""
    pings = []
    for host in hosts:
        name = f"ping-{time.monotonic_ns()}"
        log = host.start(["ping", "-D", "-n", "-i", f"{1 / rate:.4f}", target], name)
        pings.append(Ping(host, log))
    for ping in pings:
        ping.host.favour("ping", "-D")
    deadline = time.monotonic() + 15
    for ping in pings:
        while "bytes from" not in _text(ping):
            if time.monotonic() > deadline:
                raise LabError(f"{ping.host.name} gets no reply from {target} (--logs DIR keeps the logs)")
            time.sleep(0.02)
    return pings


def measure(pings: Sequence[Ping]) -> list[Count]:
    """End the pings and count."""
    for ping in pings:
        ping.host.signal(signal.SIGQUIT, "ping", "-D")  # makes ping say how many it has sent so far
    until = time.time()
    time.sleep(GRACE_S)
    for ping in pings:
        ping.host.signal(signal.SIGINT, "ping", "-D")
    deadline = time.monotonic() + 5
    for ping in pings:
        while "packets transmitted" not in _text(ping):
            if time.monotonic() > deadline:
                raise LabError(f"ping on {ping.host.name} did not end: {_text(ping)[-200:]}")
            time.sleep(0.02)
    return [count(ping.host.name, _text(ping), until) for ping in pings]


def _text(ping: Ping) -> str:
    return ping.log.read_text(encoding="utf-8", errors="replace")


def count(client: str, text: str, until: float) -> Count:
    """Read ping's output (pure)."""
    so_far = _SO_FAR.search(text)
    if so_far is None:
        raise LabError(f"ping on {client} did not say how many packets it sent:\n{text[-500:]}")
    sent = int(so_far[1])
    answered: set[int] = set()
    previous = 0
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
    ends = [*times[1:], until]
    gaps = [(end - begin, end) for begin, end in zip(times, ends, strict=True)]
    worst, worst_at = max(gaps, default=(float("inf"), until))
    return Count(client, sent, sent - len(answered), round(worst * 1000, 1), worst_at)

"""Probes of WireGuard interfaces: an initiation goes out, and the holder of the interface's key answers it.

Owns a UDP socket per address family for all probes, their pace and their time stamps. It judges nothing: one probe,
one packet, one outcome.
"""

import asyncio
import contextlib
import secrets
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from wgfleet.protocol.addresses import split_endpoint
from wgfleet.protocol.handshake import (
    INITIATION_BYTES,
    Answer,
    Ephemeral,
    EphemeralUsedError,
    Initiation,
    Pairing,
    initiate,
    pair,
    read_answer,
    receiver,
    tai64n,
)
from wgfleet.protocol.messages import ProbeTarget

# A responder drops what it handles within 20 ms of a peer's last initiation (wireguard-go and the kernel
# alike). Counted from the answer, where there is one: a busy responder handles packets closer together than they came.
PACE_S = 0.025
# A firewall that has closed lets through for ever what it takes for an old flow, and a client comes with a new one.
NEW_PORT_S = 10.0
_RENEWED_S = 6.0  # between two that were asked for: what was sent before may be answered as long as anybody waits
_EPHEMERAL_S = 1.0  # for which ephemeral keys are used, each once for a responder
_PAIRINGS = 4096  # kept; some 600 bytes each
_PACES = 4096
_BUFFER = 1024 * 1024  # bytes of receive buffer, for answers that arrive while this process is busy
_READ_AT_ONCE = 16  # packets, before other tasks get their turn; each takes 0.1 ms
_READ_ALL = 1024
_TIMESTAMPNS = 35  # SO_TIMESTAMPNS and SCM_TIMESTAMPNS (socket(7)), which Python does not name: when a packet came
_TIMESPEC = struct.Struct("@ll")


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """How a probe ended: `answer` after `seconds`, or neither and a `reason`.

    `sent` is False when this machine had no way to send it, which says nothing about the target.
    """

    endpoint: str
    answer: Answer | None
    seconds: float | None
    reason: str
    sent: bool = True


Notice = tuple[float, Callable[[], None]]
"""After how many seconds without an answer somebody wants to know it, and what to call then."""


class Timestamps:
    """TAI64N labels of the wall clock, each above the one before, even if the clock goes back."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> bytes:
        """Return the label of the current time."""
        self._last = max(time.time_ns(), self._last + 1)
        return tai64n(self._last)


_timestamps = Timestamps()  # one per process, since two probers may use the same keys


@dataclass(frozen=True, slots=True, eq=False)
class _Flight:
    """A probe that waits for its answer."""

    pairing: Pairing
    initiation: Initiation
    ended: asyncio.Future[tuple[Answer, float] | None]
    started: float
    sent_ns: int

    def seconds(self, now: float, came_ns: int | None) -> float:
        """Return how long the answer took: by when the kernel had it, for this process may have read it late.

        That is by the wall clock, which may have been set meanwhile: then it is what the loop says.
        """
        read = now - self.started
        came = read if came_ns is None else (came_ns - self.sent_ns) / 1e9
        return came if 0.0 <= came <= read else read


class Prober:
    """Probes many targets at once, within one event loop. Close it when done."""

    def __init__(self, new_port_s: float = NEW_PORT_S) -> None:
        self._new_port_s = new_port_s
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._former: dict[socket.AddressFamily, socket.socket] = {}  # answers to what was sent last may still come
        self._opened_at: dict[socket.AddressFamily, float] = {}
        self._flights: dict[int, _Flight] = {}
        self._free_at: dict[tuple[str, int, bytes], float] = {}
        self._ephemerals: list[Ephemeral] = []
        self._formed: Counter[bytes] = Counter()
        self._ephemerals_until = 0.0
        self._pair = lru_cache(maxsize=_PAIRINGS)(pair)

    async def probe(
        self, target: ProbeTarget, timeout_s: float, notices: Sequence[Notice] = (), *, beside: str = ""
    ) -> ProbeOutcome:
        """Send one initiation and wait for its answer, from whatever address it comes: the keys prove whose it is.

        `notices` are given while it waits; none once an answer is here, though nobody has read it yet.

        A probe of the same endpoint with the same keys waits until the last one is `PACE_S` old, and `timeout_s` counts
        from when it is sent. `beside` names the endpoint of the same node whose pace is kept, where it is probed at
        several with the same keys. The keys are parsed already; raise `FieldError` for a wrong endpoint or a public key
        of low order.
        """
        address, port = split_endpoint(target.endpoint)
        pairing = self._pair(target.private_key, target.public_key)
        pace = (*(split_endpoint(beside) if beside else (address, port)), pairing.public)
        await self._wait_for_turn(pace)
        loop = asyncio.get_running_loop()
        initiation = self._initiate(pairing)
        flight = _Flight(pairing, initiation, loop.create_future(), loop.time(), time.time_ns())
        self._flights[initiation.sender] = flight
        timers = [loop.call_at(flight.started + timeout_s, self._expire, flight)]
        timers += [loop.call_at(flight.started + after_s, self._notify, flight, tell) for after_s, tell in notices]
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self._socket(family).sendto(initiation.packet, (address, port))
            found = await flight.ended
        except OSError as error:
            return ProbeOutcome(target.endpoint, None, None, f"cannot send: {error.strerror}", sent=False)
        finally:
            for timer in timers:
                timer.cancel()
            self._flights.pop(initiation.sender, None)
        if found is None:
            return ProbeOutcome(target.endpoint, None, None, f"no answer within {timeout_s} s")
        answer, seconds = found
        self._free_at[pace] = max(self._free_at.get(pace, 0.0), loop.time() + PACE_S)
        return ProbeOutcome(target.endpoint, answer, seconds, "")

    async def form(self, target: ProbeTarget) -> tuple[Pairing, Initiation]:
        """Form an initiation to be sent by another way than this prober's, in its turn."""
        address, port = split_endpoint(target.endpoint)
        pairing = self._pair(target.private_key, target.public_key)
        await self._wait_for_turn((address, port, pairing.public))
        return pairing, self._initiate(pairing)

    def renew(self) -> None:
        """Send from a new source port from now on, unless there has been a new one just now: somebody is in doubt.

        What firewalls let in for an old flow says nothing of a client that comes now.
        """
        until = asyncio.get_running_loop().time() - _RENEWED_S
        self._opened_at = {
            family: opened if opened > until else opened - self._new_port_s
            for family, opened in self._opened_at.items()
        }

    def close(self) -> None:
        """Close the sockets; probes under way end without an answer."""
        for opened in (*self._sockets.values(), *self._former.values()):
            _close(opened)
        self._sockets.clear()
        self._former.clear()
        for flight in self._flights.values():
            _end(flight, None)

    def _initiate(self, pairing: Pairing) -> Initiation:
        """Form an initiation: the first of each responder's with one ephemeral key, the second with another.

        All nodes of a config are one responder, as they have its key.
        """
        now, sender = time.monotonic(), self._index()
        if now >= self._ephemerals_until:
            self._ephemerals, self._formed, self._ephemerals_until = [], Counter(), now + _EPHEMERAL_S
        place = self._formed[pairing.hash]
        self._formed[pairing.hash] += 1
        if place == len(self._ephemerals):
            self._ephemerals.append(Ephemeral())
        with contextlib.suppress(EphemeralUsedError):
            return initiate(pairing, self._ephemerals[place], _timestamps.next(), sender)
        return initiate(pairing, Ephemeral(), _timestamps.next(), sender)  # its key has been written in another way

    def _index(self) -> int:
        while (index := secrets.randbits(32)) in self._flights:
            pass
        return index

    async def _wait_for_turn(self, key: tuple[str, int, bytes]) -> None:
        """Wait until `key` may be probed again, and take the turn."""
        loop = asyncio.get_running_loop()
        # Checked again after each wait: when this process was held up, all who waited come back at once.
        while (wait_s := self._free_at.get(key, 0.0) - loop.time()) > 0:  # noqa: ASYNC110 - it waits for a time
            await asyncio.sleep(wait_s)
        now = loop.time()
        if len(self._free_at) >= _PACES:
            self._free_at = {each: free for each, free in self._free_at.items() if free > now}
        self._free_at[key] = now + PACE_S

    def _socket(self, family: socket.AddressFamily) -> socket.socket:
        """Return the socket of a family, opened when first needed: a machine may have no IPv6 at all."""
        now = asyncio.get_running_loop().time()
        opened = self._sockets.get(family)
        if opened is not None and now - self._opened_at[family] < self._new_port_s:
            return opened
        try:
            fresh = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:
            if opened is None:
                raise
            return opened  # this process may open no more files just now
        fresh.setblocking(False)
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        with contextlib.suppress(OSError):  # a kernel without it
            fresh.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        asyncio.get_running_loop().add_reader(fresh, self._read, fresh)
        if family in self._former:
            _close(self._former.pop(family))
        if opened is not None:
            self._former[family] = opened
        self._sockets[family], self._opened_at[family] = fresh, now
        return fresh

    def _read(self, opened: socket.socket, most: int = _READ_AT_ONCE) -> None:
        """Read the packets that are there, and end the flights that they answer."""
        with contextlib.suppress(OSError):  # nothing more to read
            for _ in range(most):
                packet, told, _, _ = opened.recvmsg(INITIATION_BYTES, socket.CMSG_SPACE(_TIMESPEC.size))
                index = receiver(packet)
                flight = self._flights.get(index) if index is not None else None
                if flight is not None and (answer := read_answer(flight.pairing, flight.initiation, packet)):
                    _end(flight, (answer, flight.seconds(asyncio.get_running_loop().time(), _came_ns(told))))

    def _expire(self, flight: _Flight) -> None:
        """End a flight whose time is up, unless its answer is here already: we may be the ones who are late."""
        self._read_all()
        _end(flight, None)

    def _notify(self, flight: _Flight, tell: Callable[[], None]) -> None:
        if not flight.ended.done():
            self._read_all()
        if not flight.ended.done():
            tell()

    def _read_all(self) -> None:
        for opened in (*self._sockets.values(), *self._former.values()):
            self._read(opened, _READ_ALL)


def _came_ns(told: Iterable[tuple[int, int, bytes]]) -> int | None:
    """Return when the kernel got a packet, in ns since the epoch, if it says so."""
    for level, kind, data in told:
        if (level, kind, len(data)) == (socket.SOL_SOCKET, _TIMESTAMPNS, _TIMESPEC.size):
            seconds, ns = _TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000_000 + int(ns)
    return None


def _close(opened: socket.socket) -> None:
    asyncio.get_running_loop().remove_reader(opened)
    opened.close()


def _end(flight: _Flight, found: tuple[Answer, float] | None) -> None:
    if not flight.ended.done():
        flight.ended.set_result(found)

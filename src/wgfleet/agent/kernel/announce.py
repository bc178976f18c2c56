"""Announcements of an address to a link's neighbors, and questions whether somebody has it. Packets only.

A link without Ethernet has no neighbors that could be wrong about us: there is nothing to say and nobody to ask.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from wgfleet.agent.kernel import arp_frames
from wgfleet.agent.kernel.commands import KernelError

# RFC 5227, section 2.3, has two announcements 2 s apart. Ours come sooner, since another node had the address before
# and users wait; the late ones are for a neighbor, or a switch port, that was not ready.
# Then every 5 s for two minutes: a former holder that nobody could ask may come back meanwhile, with the address.
_ANNOUNCE_AFTER_S = (0.05, 0.5, 1.0, 2.0, *(5.0 * number for number in range(1, 25)))
# RFC 5227, section 2.1.1, has three probes within 7 s. A server's link has no station that takes a second to answer.
PATIENTLY = (0.0, 0.1, 0.2, 0.5)
# Users wait, and a kernel that lives answers within a millisecond. One that is later is a conflict, which is seen.
AT_ONCE = (0.0, 0.02, 0.05, 0.1)
_ETHERNET = 1  # ARPHRD_ETHER
_GET_FLAGS, _RUNNING = 0x8913, 0x40  # SIOCGIFFLAGS and IFF_RUNNING, netdevice(7)
_ICMP6_FILTER = 1  # linux/icmpv6.h; a bit that is set blocks a type
_WORD, _BIT = divmod(arp_frames.NEIGHBOR_ADVERTISEMENT, 32)
_ONLY_ADVERTISEMENTS = struct.pack("8I", *(0xFFFFFFFF ^ (1 << _BIT if word == _WORD else 0) for word in range(8)))


class Announcer:
    """Announces an address at once and a few times more, in the background, until `stop`."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, address: str, link: str) -> None:
        """Announce `address` on `link` now, and again; OSError if the first cannot be sent."""
        self.stop(address)
        with _raw(link, 0) as (raw, mac):
            if mac is None:
                return
            frame = arp_frames.announcement(address, mac)
            raw.send(frame)
        task = self._tasks[address] = asyncio.create_task(_repeat(link, frame))
        task.add_done_callback(
            lambda done: self._tasks.pop(address, None) if self._tasks.get(address) is done else None
        )

    def stop(self, address: str) -> None:
        """Stop announcing `address`."""
        if task := self._tasks.pop(address, None):
            task.cancel()


class Rivals:
    """Listens on links for others that say they have an address of ours, until `stop`."""

    def __init__(self) -> None:
        self._listening: dict[str, contextlib.ExitStack] = {}
        self.found: dict[str, tuple[str, float]] = {}  # by address: the link address of who says so, and when

    def start(self, address: str, link: str) -> None:
        """Listen for `address` on `link`, if that is not done; OSError if it cannot be."""
        if address in self._listening:
            return
        with contextlib.ExitStack() as stack:
            _, mac = stack.enter_context(_raw(link, 0))
            if mac is None:
                return
            answers = stack.enter_context(_answers(address, link))
            loop = asyncio.get_running_loop()
            loop.add_reader(answers, self._read, answers, address, mac)
            stack.callback(loop.remove_reader, answers)
            self._listening[address] = stack.pop_all()

    def stop(self, address: str) -> None:
        """Listen no more."""
        self.found.pop(address, None)
        if stack := self._listening.pop(address, None):
            stack.close()

    def close(self) -> None:
        """Listen for no address any more."""
        for address in tuple(self._listening):
            self.stop(address)

    def _read(self, answers: socket.socket, address: str, mac: bytes) -> None:
        with contextlib.suppress(OSError):  # nothing more to read
            while True:
                packet = answers.recv(2048)
                if ":" not in address:
                    who = arp_frames.rival(packet, address, mac)
                else:
                    who = arp_frames.advertiser(packet, mac) if arp_frames.advertised(packet) == address else None
                if who is not None:
                    self.found[address] = (who, time.monotonic())


async def _repeat(link: str, frame: bytes) -> None:
    before = 0.0
    for after in _ANNOUNCE_AFTER_S:
        await asyncio.sleep(after - before)
        before = after
        with contextlib.suppress(OSError), _raw(link, 0) as (raw, _):  # the link is down; a scan repairs it
            raw.send(frame)


async def claimant(address: str, link: str, *, asks: Sequence[float] = PATIENTLY) -> str | None:
    """Ask on `link` who has `address`; return their link address, or None if nobody answers.

    `asks`: when, in s from now; the last is when it ends.
    """
    try:
        with _raw(link, 0) as (raw, mac):
            if mac is None:
                return None
            if not _runs(raw, link):
                raise KernelError(f"cannot ask on {link} who has {address}: it has no carrier")
            with _answers(address, link) as answers:
                return await _ask(raw, answers, address, mac, asks)
    except OSError as error:
        raise KernelError(f"cannot ask on {link} who has {address}: {error.strerror}") from None


async def _ask(
    raw: socket.socket, answers: socket.socket, address: str, mac: bytes, asks: Sequence[float]
) -> str | None:
    loop = asyncio.get_running_loop()
    found: list[str] = []
    answered = asyncio.Event()

    def read() -> None:
        with contextlib.suppress(OSError):  # nothing more to read
            while not found:
                packet = answers.recv(2048)
                if ":" not in address:
                    who = arp_frames.claimant(packet, address, mac)
                else:
                    who = "another machine" if arp_frames.advertised(packet) == address else None
                if who is not None:
                    found.append(who)
                    answered.set()

    frame = arp_frames.question(address, mac)
    start = loop.time()
    timers = [loop.call_at(start + at, _send, raw, frame) for at in asks[1:-1]]
    loop.add_reader(answers, read)
    try:
        raw.send(frame)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(start + asks[-1]):
                await answered.wait()
        # On a busy machine the end of the wait may be seen first, and an address that another has would be taken.
        read()
        return found[0] if found else None
    finally:
        loop.remove_reader(answers)
        for timer in timers:
            timer.cancel()


def _send(raw: socket.socket, frame: bytes) -> None:
    with contextlib.suppress(OSError):
        raw.send(frame)


def _runs(raw: socket.socket, link: str) -> bool:
    request = fcntl.ioctl(raw, _GET_FLAGS, struct.pack("16sH22x", link.encode(), 0))
    flags: int = struct.unpack("16xH22x", request)[0]
    return bool(flags & _RUNNING)


@contextlib.contextmanager
def _raw(link: str, protocol: int) -> Iterator[tuple[socket.socket, bytes | None]]:
    """Open a socket for whole frames of `link` (packet(7)); protocol 0 receives none. The mac is None off Ethernet."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(protocol)) as raw:
        raw.setblocking(False)
        raw.bind((link, protocol))
        _, _, _, kind, mac = raw.getsockname()
        yield raw, mac if kind == _ETHERNET else None


@contextlib.contextmanager
def _answers(address: str, link: str) -> Iterator[socket.socket]:
    """Open a socket that gets the answers to `arp_frames.question`, and little else."""
    if ":" not in address:
        with _raw(link, arp_frames.ETH_ARP) as (raw, _):
            yield raw
        return
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6) as raw:
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode() + b"\0")
        raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, _ONLY_ADVERTISEMENTS)
        yield raw

"""The holders of the lab's floating addresses, every 20 ms: whose kernel has them, and who answers an ARP request.

The request is sent by the router, as it would ask before it delivers a packet of a client. Owns the record of what was
seen, and the sums of it. Must not know what is broken meanwhile.
"""

import ctypes
import itertools
import json
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from wgfleet.lab.errors import LabError
from wgfleet.lab.holdings import Sample
from wgfleet.lab.hosts import Host
from wgfleet.lab.topology import NODE_SEGMENT

EVERY_S = 0.02
_ANSWER_S = 0.008  # what a kernel on the same machine has answered by, unless it stands still
_CLONE_NEWNET = 0x40000000  # setns(2)
_ETH_ARP = 0x0806
_REQUEST, _REPLY = 1, 2
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_PROMISC = 263, 1, 1  # linux/if_packet.h
_ARP = struct.Struct("!6s6sH HHBBH 6s4s 6s4s")  # RFC 826, on Ethernet
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")  # of /proc/PID/net/fib_trie
_NOBODY = NODE_SEGMENT.network[-2].packed
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class AddressSampler:
    """Looks until the block that it is used in ends. `samples` are in order, for each address in turn."""

    router: Host
    nodes: Sequence[Host]
    addresses: Sequence[str]
    samples: list[Sample] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _begun: threading.Event = field(default_factory=threading.Event)
    _failed: BaseException | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self.addresses:
            self._thread = threading.Thread(target=self._run, name="address-sampler", daemon=True)
            self._thread.start()
            self._begun.wait()  # what it runs on the nodes to know them must not be killed with them
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._failed is not None and error is None:
            raise LabError(f"looking for the holders of addresses failed: {self._failed}")

    def since(self, begun: float, address: str) -> list[Sample]:
        """Return the samples of an address since a time, in s since the epoch."""
        return [each for each in list(self.samples) if each.at >= begun and each.address == address]

    def _run(self) -> None:
        try:
            with _Asker(self.router, self.nodes) as asker:
                due = time.monotonic()
                self._begun.set()
                while not self._ended.is_set():
                    # An address that moves between the two readings must not look as if two had it.
                    held = {host.name: _local(host) for host in self.nodes}
                    answers = asker.ask(self.addresses)
                    now = time.time()
                    self.samples += [
                        Sample(now, each, frozenset(name for name in held if each in held[name]), answers[each])
                        for each in self.addresses
                    ]
                    due = max(due + EVERY_S, time.monotonic())
                    self._ended.wait(due - time.monotonic())
        except (OSError, LabError) as error:
            self._failed = error
        finally:
            self._begun.set()


def _local(host: Host) -> set[str]:
    """Return the addresses that a host's kernel has."""
    return set(_LOCAL.findall(Path(f"/proc/{host.pid}/net/fib_trie").read_text(encoding="ascii")))


class _Asker:
    """ARP requests from the router's bridge; lives in one thread, which stays in the router's network.

    A request names a link address of its own as the sender's; the answer goes there, so it tells to which request it
    belongs. The sender's IP address is nobody's: with the router's own all would learn a wrong link address of it, and
    a request without one is a probe of somebody who is about to take the address (RFC 5227).
    """

    def __init__(self, router: Host, nodes: Sequence[Host]) -> None:
        self._router = router
        self._names = {_mac(host): host.name for host in nodes}
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        with Path(f"/proc/{self._router.pid}/ns/net").open("rb") as handle:
            if _libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"entering {self._router.namespace}")
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ARP))
        self._socket.bind((NODE_SEGMENT.bridge, _ETH_ARP))
        index = socket.if_nametoindex(NODE_SEGMENT.bridge)
        wanted = struct.pack("iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
        self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, wanted)
        self._mac = self._socket.getsockname()[4]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, addresses: Iterable[str]) -> dict[str, frozenset[str]]:
        """Ask for each address; return who answered, by address."""
        asked = {}
        for address in addresses:
            asked[b"\x02" + next(self._numbers).to_bytes(5, "big")] = address
        found: dict[str, set[str]] = {address: set() for address in asked.values()}
        for sender, address in asked.items():
            self._socket.send(_request(address, self._mac, sender))
        deadline = time.monotonic() + _ANSWER_S
        while (left := deadline - time.monotonic()) > 0 and select.select([self._socket], [], [], left)[0]:
            frame = self._socket.recv(_ARP.size)
            if len(frame) == _ARP.size and (parts := _ARP.unpack(frame))[7] == _REPLY and parts[10] in asked:
                found[asked[parts[10]]].add(self._names.get(parts[8], parts[8].hex(":")))
        return {address: frozenset(names) for address, names in found.items()}


def _request(address: str, mac: bytes, sender: bytes) -> bytes:
    return _ARP.pack(
        b"\xff" * 6, mac, _ETH_ARP, 1, 0x0800, 6, 4, _REQUEST, sender, _NOBODY, bytes(6), socket.inet_aton(address)
    )  # fmt: skip


def _mac(host: Host) -> bytes:
    (link,) = json.loads(host.run("ip", "-j", "link", "show", "eth0"))
    return bytes.fromhex(link["address"].replace(":", ""))

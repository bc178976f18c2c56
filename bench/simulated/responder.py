"""Answers to WireGuard handshakes, for all simulated interfaces: what the panel probes is real.

Noise_IKpsk2 of the tests' responder, with what does not change kept: one ephemeral key for all, and the exchanges with
initiators that are known.
"""

import os
import select
import signal
import socket
import struct
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tests.protocol.responder import blake, kdf, mac, seal
from wgfleet.process import end_with, raise_open_files_limit
from wgfleet.protocol.keys import PrivateKey, text_to_raw

_INITIATION = struct.Struct("<II32s48s28s16s16s")
_C0 = blake(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
_H0 = blake(_C0 + b"WireGuard v1 zx2c4 Jason@zx2c4.com")
_NONCE, _NO_PSK = bytes(12), bytes(32)
_EPHEMERAL = X25519PrivateKey.generate()
_EPHEMERAL_PUBLIC = _EPHEMERAL.public_key().public_bytes_raw()
Held = tuple[str, int]


class Interface:
    """The holder of one interface's key."""

    def __init__(self, private_key: str) -> None:
        self.private_key = private_key
        self._private = X25519PrivateKey.from_private_bytes(text_to_raw(PrivateKey(private_key)))
        public = self._private.public_key().public_bytes_raw()
        self._mac_key, self._hash = blake(b"mac1----" + public), blake(_H0 + public)
        self._known: dict[bytes, tuple[bytes, bytes]] = {}

    def respond(self, packet: bytes) -> bytes | None:
        """Answer an initiation; None: it is none, or for another key."""
        if len(packet) != _INITIATION.size:
            return None
        _, sender, ephemeral, static, stamp, mac1, _ = _INITIATION.unpack(packet)
        if mac1 != mac(self._mac_key, packet[:116]):
            return None
        theirs = X25519PublicKey.from_public_bytes(ephemeral)
        h = blake(self._hash + ephemeral)
        (c,) = kdf(_C0, ephemeral, 1)
        c, key = kdf(c, self._private.exchange(theirs), 2)
        try:
            initiator = ChaCha20Poly1305(key).decrypt(_NONCE, static, h)
        except InvalidTag:
            return None
        of_statics, with_ours = self._exchanges(initiator)
        h = blake(h + static)
        c, _ = kdf(c, of_statics, 2)
        h = blake(blake(h + stamp) + _EPHEMERAL_PUBLIC)
        for secret in (_EPHEMERAL_PUBLIC, _EPHEMERAL.exchange(theirs), with_ours):
            (c,) = kdf(c, secret, 1)
        _, tau, key = kdf(c, _NO_PSK, 3)
        empty = ChaCha20Poly1305(key).encrypt(_NONCE, b"", blake(h + tau))
        return seal(struct.pack("<III", 2, 77, sender) + _EPHEMERAL_PUBLIC + empty, initiator)

    def _exchanges(self, initiator: bytes) -> tuple[bytes, bytes]:
        """Return our static key's and our ephemeral key's exchange with an initiator's static key."""
        if initiator not in self._known:
            theirs = X25519PublicKey.from_public_bytes(initiator)
            self._known[initiator] = self._private.exchange(theirs), _EPHEMERAL.exchange(theirs)
        return self._known[initiator]


@dataclass(frozen=True, slots=True)
class Seen:
    """Probes that were answered since the last look, and the longest time between two of the same interface in s."""

    probes: int
    longest_gap_s: float


class Responder:
    """Sockets of all interfaces, and who asked when."""

    def __init__(self) -> None:
        self.poll = select.epoll()
        self._sockets: dict[int, tuple[socket.socket, Held, Interface]] = {}
        self._of: dict[Held, int] = {}
        self._silent: set[str] = set()
        self._times: dict[Held, list[float]] = defaultdict(list)
        self._since = time.monotonic()

    def hold(self, address: str, port: int, private_key: str | None) -> None:
        """Answer as an interface; without a key no longer."""
        held = address, port
        if held in self._of:
            opened, _, interface = self._sockets[self._of[held]]
            if interface.private_key == private_key:
                return
            self.poll.unregister(opened)
            del self._sockets[self._of.pop(held)]
            opened.close()
        if private_key is not None:
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.setblocking(False)
            opened.bind(held)
            self._sockets[opened.fileno()] = opened, held, Interface(private_key)
            self._of[held] = opened.fileno()
            self.poll.register(opened, select.EPOLLIN)

    def silence(self, address: str) -> None:
        """Answer nothing at an address any more."""
        self._silent.add(address)

    def look(self) -> Seen:
        """Return what was seen since the last look, of interfaces that answer."""
        now = time.monotonic()
        times = [
            [self._since, *self._times[held], now]
            for _, held, _ in self._sockets.values()
            if held[0] not in self._silent
        ]
        gaps = [later - earlier for each in times for earlier, later in pairwise(each)]
        seen = Seen(sum(len(each) - 2 for each in times), max(gaps, default=0.0))
        self._times.clear()
        self._since = now
        return seen

    def read(self, descriptor: int) -> None:
        """Answer what has come to a socket."""
        if descriptor not in self._sockets:
            return  # it was closed just now
        opened, held, interface = self._sockets[descriptor]
        with suppress(OSError):  # nothing more to read
            while True:
                packet, source = opened.recvfrom(256)
                if held[0] not in self._silent and (answer := interface.respond(packet)):
                    self._times[held].append(time.monotonic())
                    opened.sendto(answer, source)


def run(control: Connection, crowd: Connection) -> None:
    """Answer until the other end of `control` is closed. `crowd` says what to hold."""
    end_with(os.getppid(), signal.SIGKILL)
    raise_open_files_limit()
    responder = Responder()
    for pipe in (control, crowd):
        responder.poll.register(pipe.fileno(), select.EPOLLIN)
    with suppress(EOFError):
        while True:
            for descriptor, _ in responder.poll.poll():
                if descriptor == crowd.fileno():
                    name, *arguments = crowd.recv()
                    getattr(responder, name)(*arguments)
                elif descriptor == control.fileno():
                    control.recv()
                    control.send(responder.look())
                else:
                    responder.read(descriptor)

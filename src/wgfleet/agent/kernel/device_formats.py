"""The raw forms in which a WireGuard device describes itself, and how to parse one peer of it. Pure.

A reading is a stream of blocks of bytes, one per peer, so that a scan compares blocks, parses only those that changed,
and never holds the whole. Two forms: `wg show IF dump` (kernel and userspace), and the socket protocol (`get=1`) that
wireguard-go speaks (https://www.wireguard.com/xplatform/), which costs half the time.
"""

import binascii
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from wgfleet.protocol.keys import PresharedKey, PrivateKey, PublicKey
from wgfleet.protocol.observed import ObservedPeer, PeerStats

_NO_KEY = "0" * 64
_IDLE = PeerStats()


@dataclass(frozen=True, slots=True)
class SeenPeer:
    """One peer of a reading: its key, its configuration, and its session data (None: never used)."""

    key: PublicKey
    observed: ObservedPeer
    stats: PeerStats | None


@dataclass(frozen=True, slots=True)
class Device:
    """The interface's own part of a reading."""

    private_key: PrivateKey | None
    listen_port: int


class Form(Protocol):
    """A format of a reading. `separator` stands between blocks, `end` follows the last one.

    `begin` is thought before the first: a device that is a moment old may have nothing to say of itself, and its answer
    begins with the first peer, or with the end.
    """

    begin: bytes
    separator: bytes
    end: bytes

    def device(self, block: bytes) -> Device:
        """Parse the first block."""

    def key_of(self, block: bytes) -> PublicKey:
        """Return a peer's key without parsing the rest."""

    def peer(self, block: bytes) -> SeenPeer:
        """Parse a peer's block."""


class DumpForm:
    """Output of `wg show IF dump`: a line for the device, then one per peer, fields separated by tabs (wg(8))."""

    begin = b""
    separator = b"\n"
    end = b"\n"

    def device(self, block: bytes) -> Device:
        private_key, _, port, _ = block.decode().split("\t")
        return Device(None if private_key == "(none)" else PrivateKey(private_key), int(port))

    def key_of(self, block: bytes) -> PublicKey:
        return PublicKey(block[:44].decode())

    def peer(self, block: bytes) -> SeenPeer:
        key, psk, endpoint, allowed, handshake, rx, tx, keepalive = block.decode().split("\t")
        return SeenPeer(
            PublicKey(key),
            ObservedPeer(
                allowed_ips=frozenset() if allowed == "(none)" else frozenset(allowed.split(",")),
                preshared_key=None if psk == "(none)" else PresharedKey(psk),
                persistent_keepalive=0 if keepalive == "off" else int(keepalive),
            ),
            _stats(None if endpoint == "(none)" else endpoint, int(handshake), int(rx), int(tx)),
        )


class SocketForm:
    """Answer to `get=1`: `key=value` lines; each peer begins with `public_key=`, keys are in hex."""

    begin = b"\n"
    separator = b"\npublic_key="
    end = b"\nerrno=0\n\n"
    last = b"\n\n"  # bytes of any answer, also of an error

    def device(self, block: bytes) -> Device:
        fields = dict(line.split("=", 1) for line in block.decode().splitlines() if "=" in line)
        private_key = fields.get("private_key", _NO_KEY)
        return Device(
            None if private_key == _NO_KEY else PrivateKey(_base64(private_key)), int(fields.get("listen_port", "0"))
        )

    def key_of(self, block: bytes) -> PublicKey:
        return PublicKey(_base64(block[:64].decode()))

    def peer(self, block: bytes) -> SeenPeer:
        key, *lines = block.decode().split("\n")
        allowed = []
        fields = {"preshared_key": _NO_KEY, "persistent_keepalive_interval": "0"}
        for line in lines:
            name, _, value = line.partition("=")
            if name == "allowed_ip":
                allowed.append(value)
            else:
                fields[name] = value
        psk = fields["preshared_key"]
        return SeenPeer(
            PublicKey(_base64(key)),
            ObservedPeer(
                allowed_ips=frozenset(allowed),
                preshared_key=None if psk == _NO_KEY else PresharedKey(_base64(psk)),
                persistent_keepalive=int(fields["persistent_keepalive_interval"]),
            ),
            _stats(
                fields.get("endpoint"),
                int(fields.get("last_handshake_time_sec", "0")),
                int(fields.get("rx_bytes", "0")),
                int(fields.get("tx_bytes", "0")),
            ),
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """A device that is being read: its own part, and its peers' blocks, some at a time."""

    form: Form
    device: Device
    blocks: AsyncIterator[list[bytes]]


async def read(form: Form, chunks: AsyncIterator[bytes]) -> Reading:
    """Begin a reading; raise ValueError, now or while iterating, if it is cut off."""
    blocks = _split(form, chunks)
    head, *first = await anext(blocks)

    async def peers() -> AsyncIterator[list[bytes]]:
        if first:
            yield first
        async for some in blocks:
            yield some

    return Reading(form, form.device(head), peers())


async def _split(form: Form, chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    rest = form.begin
    async for chunk in chunks:
        # What may be the end, or half of a separator, waits for the next chunk.
        *whole, rest = (rest + chunk).split(form.separator)
        if form.separator == form.end and rest == b"" and whole:
            whole, rest = whole[:-1], whole[-1] + form.end
        if whole:
            yield whole
    if not rest.endswith(form.end):
        raise ValueError(f"the device's answer is cut off or an error; {len(rest)} bytes are left")
    yield [rest.removesuffix(form.end)]


def _stats(endpoint: str | None, handshake: int, rx: int, tx: int) -> PeerStats | None:
    stats = PeerStats(endpoint=endpoint, latest_handshake=handshake, rx=rx, tx=tx)
    return None if stats == _IDLE else stats


def _base64(hexadecimal: str) -> str:
    return binascii.b2a_base64(bytes.fromhex(hexadecimal), newline=False).decode()

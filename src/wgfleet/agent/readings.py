"""What a WireGuard device says of itself, in its raw form, and how to parse one peer of it. Pure.

A reading is kept as one block of bytes per peer, so that a scan compares blocks and parses only those that changed.
Two forms: `wg show IF dump` (kernel and userspace), and the cross-platform socket protocol (`get=1`) that wireguard-go
speaks (https://www.wireguard.com/xplatform/), which costs half the time.
"""

import binascii
from dataclasses import dataclass
from typing import Protocol

from wgfleet.protocol.keys import PresharedKey, PrivateKey, PublicKey
from wgfleet.protocol.observed import ObservedPeer, PeerStats

_NO_KEY = "0" * 64
_UAPI_END = b"errno=0\n\n"
_IDLE = PeerStats()


@dataclass(frozen=True, slots=True)
class SeenPeer:
    """One peer of a reading: its key, how it is configured, and its live half (None: never used)."""

    key: PublicKey
    observed: ObservedPeer
    stats: PeerStats | None


class Reading(Protocol):
    """A device as read at one moment."""

    private_key: PrivateKey | None
    listen_port: int
    blocks: list[bytes]

    def key_of(self, block: bytes) -> PublicKey:
        """Return the peer's public key without parsing the rest."""

    def peer(self, block: bytes) -> SeenPeer:
        """Parse one block."""


class DumpReading:
    """Output of `wg show IF dump`: a line for the device, then a line for each peer, fields parted by tabs (wg(8))."""

    def __init__(self, raw: bytes) -> None:
        lines = raw.removesuffix(b"\n").split(b"\n")
        private_key, _, port, _ = lines[0].decode().split("\t")
        self.private_key = None if private_key == "(none)" else PrivateKey(private_key)
        self.listen_port = int(port)
        self.blocks = lines[1:]

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


class SocketReading:
    """Answer to `get=1`: `key=value` lines; each peer begins with `public_key=`, keys are in hex."""

    def __init__(self, raw: bytes) -> None:
        if not raw.endswith(_UAPI_END):
            raise ValueError(f"the answer of wireguard-go is cut off or an error: {raw[-40:]!r}")
        head, *blocks = raw[: -len(_UAPI_END)].removesuffix(b"\n").split(b"\npublic_key=")
        device = dict(line.split("=", 1) for line in head.decode().splitlines() if "=" in line)
        private_key = device.get("private_key", _NO_KEY)
        self.private_key = None if private_key == _NO_KEY else PrivateKey(_base64(private_key))
        self.listen_port = int(device.get("listen_port", "0"))
        self.blocks = blocks

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


def _stats(endpoint: str | None, handshake: int, rx: int, tx: int) -> PeerStats | None:
    stats = PeerStats(endpoint=endpoint, latest_handshake=handshake, rx=rx, tx=tx)
    return None if stats == _IDLE else stats


def _base64(hexadecimal: str) -> str:
    return binascii.b2a_base64(bytes.fromhex(hexadecimal), newline=False).decode()

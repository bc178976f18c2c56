"""Session of WireGuard's initiator: data packets sealed and opened, as in the WireGuard paper, section 5.4.6.

It keeps a counter and nothing else: no timers, no window against replays, no second handshake. It is for a few packets.
"""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wgfleet.protocol.handshake import Initiation, Pairing, chaining_key_of, session_keys

_DATA = struct.Struct("<IIQ")
_DATA_KIND = 4
_BLOCK = 16  # bytes to which payloads are padded


class TransportSession:
    """A session from its beginning; `theirs` and `ours` are the indexes of the two sides."""

    def __init__(self, theirs: int, ours: int, chaining_key: bytes) -> None:
        sends, receives = session_keys(chaining_key)
        self._theirs, self._ours = theirs, ours
        self._sends, self._receives = ChaCha20Poly1305(sends), ChaCha20Poly1305(receives)
        self._counter = 0

    def seal(self, packet: bytes) -> bytes:
        """Return an IP packet as the data packet that goes out."""
        padded = packet + bytes(-len(packet) % _BLOCK)
        head = _DATA.pack(_DATA_KIND, self._theirs, self._counter)
        sealed = self._sends.encrypt(_nonce(self._counter), padded, b"")
        self._counter += 1
        return head + sealed

    def open(self, packet: bytes) -> bytes | None:
        """Return the IP packet, with its padding, of a data packet; None for anything else, and for a keepalive."""
        if len(packet) <= _DATA.size:
            return None
        kind, index, counter = _DATA.unpack_from(packet)
        if kind != _DATA_KIND or index != self._ours:
            return None
        try:
            return self._receives.decrypt(_nonce(counter), packet[_DATA.size :], b"") or None
        except InvalidTag:
            return None


def begin(pairing: Pairing, initiation: Initiation, packet: bytes) -> TransportSession | None:
    """Return the session that begins with this response to an initiation of ours; None if it is none."""
    chaining_key = chaining_key_of(pairing, initiation, packet)
    if chaining_key is None:
        return None
    return TransportSession(int.from_bytes(packet[4:8], "little"), initiation.sender, chaining_key)


def _nonce(counter: int) -> bytes:
    return struct.pack("<4xQ", counter)

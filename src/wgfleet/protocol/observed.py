"""The observed state of a machine. Never the same object as what is desired."""

from typing import Annotated

from msgspec import Meta, Struct

from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PresharedKey, PrivateKey, PublicKey

LIVE_S = 180.0  # a session of an older handshake carries nothing: REJECT_AFTER_TIME (WireGuard whitepaper, 6.1)

# More bytes are counted by no machine, and later handshakes fit no calendar.
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Moment = Annotated[int, Meta(ge=0, le=10**12)]


class PeerStats(Struct, frozen=True, gc=False, omit_defaults=True):
    """The session data of a peer. `latest_handshake` in s since the epoch (0: never), `rx` and `tx` in bytes."""

    endpoint: str | None = None
    latest_handshake: Moment = 0
    rx: Count = 0
    tx: Count = 0


class ObservedPeer(Struct, frozen=True, gc=False):
    """The configuration of a peer as found on the interface."""

    allowed_ips: frozenset[str]
    preshared_key: PresharedKey | None
    persistent_keepalive: int


class ObservedInterface(Struct, frozen=True):
    """A WireGuard link as found. `private_key` is None on a fresh link; `addresses` exclude link-local ones.

    `filtered`: the filter of its users stands as wanted (where none is wanted: there is one).
    `floating` are the addresses that the agent has added to the machine's own links for this interface.
    """

    name: InterfaceName
    private_key: PrivateKey | None
    listen_port: int
    addresses: frozenset[str]
    routes: frozenset[str]
    mtu: int
    up: bool
    masquerade: bool
    peers: dict[PublicKey, ObservedPeer]
    floating: frozenset[str] = frozenset()
    filtered: bool = False

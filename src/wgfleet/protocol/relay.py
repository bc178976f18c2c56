"""Messages about relays: a node that users' devices go on sending to passes their packets on to the node that has them.

For devices behind NAT, which let nobody else call them. The packets stay encrypted: the relaying node has no session.
"""

from typing import Annotated

from msgspec import Meta, Struct

from wgfleet.protocol.addresses import LAST_PORT
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey

MAX_RELAY_S = 90 * 86400.0
MAX_RELAYED = 5000


class RelayedPeer(Struct, frozen=True, forbid_unknown_fields=True, gc=False, omit_defaults=True):
    """A peer, the `ADDRESS:PORT` from which it sends to this node, and that of the node which is to get it."""

    public_key: PublicKey
    endpoint: str
    target: str


class RelayRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/wg/{if}/relay`: relay these peers too, or again, for `for_s` s."""

    config_id: ConfigId
    peers: tuple[RelayedPeer, ...]
    for_s: float


class RelayEnd(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/wg/{if}/relay/end`: relay these peers no more; None: nobody."""

    peers: tuple[PublicKey, ...] | None = None


class RelayProlongation(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/wg/{if}/relay/prolong`: relay peers that are relayed for `for_s` s from now."""

    peers: tuple[PublicKey, ...]
    for_s: float


class Relayed(Struct, frozen=True):
    """A peer that is relayed to `target` from UDP port `port` of this node.

    `ends_at`, `since`: s since the epoch, by the clock of the node's machine; `left_s`: how long it has to go, by a
    clock that nobody sets.
    """

    endpoint: str
    target: str
    port: Annotated[int, Meta(ge=1, le=LAST_PORT)]
    ends_at: float
    since: float = 0.0
    left_s: float = 0.0


class RelayStatus(Struct, frozen=True):
    """Answer to `GET /v1/wg/{if}/relay` and to the requests: all that are relayed, by public key."""

    peers: dict[PublicKey, Relayed]


class InterfaceRelays(Struct, frozen=True):
    """The relays of an interface, which the node may have no more; see `Relayed`."""

    config_id: ConfigId
    peers: dict[PublicKey, Relayed]


class AllRelays(Struct, frozen=True):
    """Answer to `GET /v1/relays`: all of this node, by interface."""

    interfaces: dict[InterfaceName, InterfaceRelays]

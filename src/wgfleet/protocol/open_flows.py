"""Messages about open TCP connections of peers who have moved: their NAT is the former node's, and cannot move along.

The nodes of a config that has no backbone do not tell each other; the panel asks the one, and tells the other. Of a
node that has died it has what that one said last.
"""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from wgfleet.protocol.backbone import MAX_FLOWS
from wgfleet.protocol.keys import PublicKey

MOST_OF_PEER = 256  # a site behind a peer has many users
Flow = Annotated[bytes, Meta(min_length=12, max_length=36)]
"""The user's address and port, then the server's, in network order: 12 bytes for IPv4, 36 for IPv6."""
FlowsOfPeers = dict[PublicKey, Annotated[tuple[Flow, ...], Meta(max_length=MOST_OF_PEER)]]


class FlowQuestion(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/wg/{if}/flows`: which connections the NAT has of these peers, given with their networks."""

    networks: dict[PublicKey, tuple[str, ...]]


class CarriedFlows(Struct, frozen=True):
    """The connections that the NAT has, of peers that have any."""

    flows: FlowsOfPeers


class FlowListing(Struct, frozen=True, omit_defaults=True):
    """Answer to `GET /v1/wg/{if}/flows`: the connections that the NAT has of all users, one after the other.

    `four`: those of IPv4, 12 bytes each; `six`: of IPv6, 36 each. `took_s`: the processor time of finding them.
    """

    four: Annotated[bytes, Meta(max_length=12 * MAX_FLOWS)] = b""
    six: Annotated[bytes, Meta(max_length=36 * MAX_FLOWS)] = b""
    took_s: float = 0.0

    def flows(self) -> Iterator[bytes]:
        """Give each of them."""
        for size, together in ((12, self.four), (36, self.six)):
            yield from (together[at : at + size] for at in range(0, len(together) - size + 1, size))


class EndedFlows(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/wg/{if}/flows/end`: connections of peers who have come, to be ended at the peers' side."""

    flows: FlowsOfPeers

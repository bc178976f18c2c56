"""The providers that come with the panel: `none`, and `l2`, where the agents do it all."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from wgfleet.panel.address_providers import AddressNode
from wgfleet.panel.errors import PermanentError
from wgfleet.protocol.reasons import Reason


class NoOptions(BaseModel):
    """Nothing can be set."""

    model_config = ConfigDict(extra="forbid")


class NoAddresses:
    """There are no floating addresses."""

    name = "none"
    on_agent = False
    Options: type[BaseModel] = NoOptions

    def __init__(self, options: NoOptions) -> None:
        """Take nothing."""

    def holder(self, _address: str, _nodes: Sequence[AddressNode]) -> AddressNode | None:
        """Return None: nobody has any."""
        return None

    def assign(self, address: str, node: AddressNode) -> None:
        """Refuse."""
        raise PermanentError(
            Reason(
                "{address} cannot be brought to node {node!r}: set address_provider in the endpoint group",
                address=address,
                node=node.name,
            )
        )

    def close(self) -> None:
        """Do nothing."""


class Layer2(NoAddresses):
    """All nodes are in one layer 2 segment: the agent adds the address to its machine and announces it there.

    Gratuitous ARP (RFC 5227, section 3) and unsolicited neighbor advertisements (RFC 4861, section 7.2.6) tell the
    routers and machines of the segment.
    """

    name = "l2"
    on_agent = True

"""All that the kernel holds the peers of an interface to, beside quotas: speeds and destination rules."""

from collections.abc import Collection

from wgfleet.agent.interfaces.destinations import DestinationRules
from wgfleet.agent.interfaces.speeds import Speeds
from wgfleet.protocol.desired import DesiredInterface
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey


class HeldPeers:
    """The tables of one interface."""

    def __init__(self, name: InterfaceName) -> None:
        self._tables = (Speeds(name), DestinationRules(name))

    @property
    def drift(self) -> tuple[Drift, ...]:
        """How the kernel differs from what is desired."""
        return tuple(found for each in self._tables for found in each.drift)

    async def hold(self, desired: DesiredInterface, changed: Collection[PublicKey]) -> None:
        """Hold peers to what is desired, before some of them, `changed`, are let in."""
        for each in self._tables:
            await each.hold(desired, changed)

    async def look(self, desired: DesiredInterface, *, repair: bool) -> None:
        """Compare what the kernel has with what is desired, and put it right if `repair`."""
        for each in self._tables:
            await each.look(desired, repair=repair)

"""Destination rules of an interface's peers, as chains in the kernel."""

from collections.abc import Collection, Iterable
from typing import ClassVar

from wgfleet.agent.interfaces.held_tables import HeldTable
from wgfleet.agent.interfaces.quotas import without_overlaps
from wgfleet.agent.kernel import destination_table
from wgfleet.agent.kernel.destination_table import RuledPeer, RuleFrame, chain_of
from wgfleet.agent.kernel.links import tunnel_of
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey


class DestinationRules(HeldTable[RuledPeer]):
    """Whom of an interface's peers rules hold to what. A peer whose set is not there reaches nothing."""

    field: ClassVar[str] = "rules"

    def __init__(self, name: InterfaceName) -> None:
        super().__init__(name)
        self._frame = RuleFrame(name)
        self._chains: str | None = None  # as nft prints them, of the frame; None: that is not known

    @staticmethod
    def is_held(peer: DesiredPeer) -> bool:
        """Whether a peer has rules."""
        return bool(peer.rule_set)

    def turn_to(self, desired: DesiredInterface) -> bool:
        """Take note of sets, and of the links of users."""
        frame = frame_of(desired.settings)
        if frame == self._frame:
            return False
        self._frame, self._chains = frame, None
        return True

    def items(self, desired: DesiredInterface) -> dict[PublicKey, RuledPeer]:
        """Return who is to be held to which chain."""
        numbers = {each.name: number for number, each in enumerate(desired.settings.rule_sets)}
        ruled = {key: peer for key, peer in desired.peers.items() if peer.rule_set}
        networks = without_overlaps({key: peer.allowed_ips for key, peer in ruled.items()})
        return {
            key: RuledPeer(networks[key], chain_of(numbers.get(peer.rule_set, -1)))
            for key, peer in ruled.items()
            if networks[key]
        }

    async def is_there(self) -> bool:
        """Whether there is a table."""
        return await destination_table.is_there(self.name)

    async def matches(self, items: Collection[RuledPeer]) -> bool | None:
        """Compare the table: with what it was when it was made, for nft prints rules in its own words."""
        found = await destination_table.observe(self.name)
        if found is None:
            return None
        return found.chains == self._chains and found.elements == destination_table.elements(items)

    async def replace(self, items: Collection[RuledPeer]) -> None:
        """Make the table."""
        await destination_table.replace(self.name, self._frame, items)
        found = await destination_table.observe(self.name)
        self._chains = None if found is None else found.chains

    async def change(self, removed: Iterable[RuledPeer], added: Iterable[RuledPeer]) -> None:
        """Have some peers be held to other sets."""
        await destination_table.change(self.name, removed, added)

    async def remove(self) -> None:
        """Remove the table."""
        await destination_table.remove(self.name)


def frame_of(settings: InterfaceSettings) -> RuleFrame:
    """Return what rules say of an interface, but for its peers."""
    tunnel = None if settings.backbone is None else tunnel_of(settings.backbone.port)
    return RuleFrame(settings.name, settings.rule_sets, tunnel)

"""Speeds of an interface's peers, as limits in the kernel."""

from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar

from wgfleet.agent.interfaces.held_tables import HeldTable
from wgfleet.agent.interfaces.quotas import without_overlaps
from wgfleet.agent.kernel import speed_table
from wgfleet.agent.kernel.speed_table import TableSpeed
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer
from wgfleet.protocol.keys import PublicKey, text_to_raw

_WORD_BYTES = 12  # of a public key, of which no two in 2**48 begin alike


class Speeds(HeldTable[TableSpeed]):
    """The limits of one interface's peers."""

    field: ClassVar[str] = "speeds"

    @staticmethod
    def is_held(peer: DesiredPeer) -> bool:
        """Whether a peer has a limit."""
        return bool(peer.download or peer.upload)

    def items(self, desired: DesiredInterface) -> dict[PublicKey, TableSpeed]:
        """Return the limits that are to be in the kernel."""
        return limits_of(desired.peers)

    async def is_there(self) -> bool:
        """Whether there is a table."""
        return await speed_table.is_there(self.name)

    async def matches(self, items: Collection[TableSpeed]) -> bool | None:
        """Compare the table."""
        found = await speed_table.observe(self.name)
        return None if found is None else found == speed_table.contents(items)

    async def replace(self, items: Collection[TableSpeed]) -> None:
        """Make the table; all buckets are full."""
        await speed_table.replace(self.name, items)

    async def change(self, removed: Iterable[TableSpeed], added: Iterable[TableSpeed]) -> None:
        """Change some limits; the others go on as they are."""
        await speed_table.change(self.name, removed, added)

    async def remove(self) -> None:
        """Remove the table."""
        await speed_table.remove(self.name)


def limits_of(peers: Mapping[PublicKey, DesiredPeer]) -> dict[PublicKey, TableSpeed]:
    """Return the limits that are to be in the kernel."""
    limited = {key: peer for key, peer in peers.items() if Speeds.is_held(peer)}
    networks = without_overlaps({key: peer.allowed_ips for key, peer in limited.items()})
    return {
        key: TableSpeed(text_to_raw(key)[:_WORD_BYTES].hex(), networks[key], peer.download, peer.upload)
        for key, peer in limited.items()
        if networks[key]
    }

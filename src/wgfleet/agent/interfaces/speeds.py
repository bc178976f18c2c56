"""Speeds of peers: what is desired of an interface's peers, held against what the kernel has, and kept true there.

Limits are set before WireGuard lets a peer in. A kernel that takes none does not keep users out: it shows as drift.
"""

import time
from collections.abc import Iterable, Mapping

import structlog

from wgfleet.agent.interfaces.quotas import without_overlaps
from wgfleet.agent.kernel import nft_tables, speed_table
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.speed_table import TableSpeed
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey, text_to_raw

FIELD = "speeds"
_EVERY_S = 30.0  # between two readings of the whole table
_SHARE = 0.01  # of the time that they may take
_WORD_BYTES = 12  # of a public key, of which no two in 2**48 begin alike
_WANTED = "as the panel wants"
_log = structlog.get_logger()


class Speeds:
    """The limits of one interface's peers. Its methods are called under the lock of the interface."""

    def __init__(self, name: InterfaceName) -> None:
        self._name = name
        self._held: dict[PublicKey, TableSpeed] | None = None  # in the kernel; None: that is not known
        self._looked_at = float("-inf")
        self._took_s = 0.0
        self.drift: tuple[Drift, ...] = ()

    async def hold(self, peers: Mapping[PublicKey, DesiredPeer], changed: Iterable[PublicKey]) -> None:
        """Have the kernel hold peers to their speeds, before some of them, `changed`, are let in."""
        held = self._held
        if held is not None and any(key in held or (key in peers and is_limited(peers[key])) for key in changed):
            await self._make(limits_of(peers), held)

    async def look(self, peers: Mapping[PublicKey, DesiredPeer], *, repair: bool) -> None:
        """Compare what the kernel has with what is desired: whether it has a table, and now and then the whole."""
        wanted = limits_of(peers)
        if self._held is not None and self._held != wanted:
            await self._make(wanted, self._held)
        if self._held == {} and not self.drift:
            return
        try:
            found = await self._difference(wanted)
            if found is not None and repair:
                if self._held is not None:  # not at the first look
                    _log.warning("speeds.repaired", interface=self._name, found=found)
                await self._make(wanted, None)
                return
            self.drift = () if found is None else (Drift(FIELD, _WANTED, found),)
        except (KernelError, OSError, ValueError) as error:
            self._failed(error)

    async def _difference(self, wanted: Mapping[PublicKey, TableSpeed]) -> str | None:
        """Say how the kernel differs; None: it does not."""
        if not nft_tables.available():
            return "this machine has no nft" if wanted else None
        if time.monotonic() - self._looked_at < max(_EVERY_S, self._took_s / _SHARE) and self._held == wanted:
            return None if await speed_table.is_there(self._name) is bool(wanted) else "the table is gone"
        begun = time.monotonic()
        found = await speed_table.observe(self._name)
        self._looked_at, self._took_s = time.monotonic(), time.monotonic() - begun
        if (found is None and not wanted) or found == speed_table.contents(wanted.values()):
            self._held = dict(wanted)
            return None
        return "absent" if found is None else "other limits"

    async def _make(self, wanted: dict[PublicKey, TableSpeed], held: Mapping[PublicKey, TableSpeed] | None) -> None:
        """Make the table, or change what differs from what it holds."""
        self._held = None
        try:
            if not wanted:
                await speed_table.remove(self._name)
            elif not held or not await self._changed(wanted, held):
                await speed_table.replace(self._name, list(wanted.values()))
            self._held, self.drift = wanted, ()
        except (KernelError, OSError) as error:
            self._failed(error)

    async def _changed(self, wanted: Mapping[PublicKey, TableSpeed], held: Mapping[PublicKey, TableSpeed]) -> bool:
        """Change what differs; False: the table is not what it was taken for."""
        removed = [each for key, each in held.items() if wanted.get(key) != each]
        added = [each for key, each in wanted.items() if held.get(key) != each]
        try:
            await speed_table.change(self._name, removed, added)
        except KernelError as error:
            _log.warning("speeds.made_again", interface=self._name, reason=str(error))
            return False
        return True

    def _failed(self, error: Exception) -> None:
        found = Drift(FIELD, _WANTED, str(error))
        if self.drift != (found,):
            _log.error("speeds.not_set", interface=self._name, reason=str(error))
        self.drift = (found,)


def is_limited(peer: DesiredPeer) -> bool:
    """Whether a peer has a limit."""
    return bool(peer.download or peer.upload)


def limits_of(peers: Mapping[PublicKey, DesiredPeer]) -> dict[PublicKey, TableSpeed]:
    """Return the limits that are to be in the kernel."""
    limited = {key: peer for key, peer in peers.items() if is_limited(peer)}
    networks = without_overlaps({key: peer.allowed_ips for key, peer in limited.items()})
    return {
        key: TableSpeed(text_to_raw(key)[:_WORD_BYTES].hex(), networks[key], peer.download, peer.upload)
        for key, peer in limited.items()
        if networks[key]
    }

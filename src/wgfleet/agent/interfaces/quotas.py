"""Quotas of peers: what the panel allows them, held against what was counted, and kept true in the kernel.

The kernel counts by itself, and drops the packet that goes beyond a quota, whatever became of the agent. It counts
packets as they are in the tunnel, and WireGuard as they are outside, where they are larger: so its limits are set again
as peers come nearer to them. What is read first, the kernel's count, is the older one: a limit is never set too high.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from wgfleet.agent.interfaces.usage import UsageMeter
from wgfleet.agent.kernel import nft_tables, peer_maps, quota_table
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.quota_table import CountedBytes, TableQuota
from wgfleet.agent.state.quota_file import QuotaFile
from wgfleet.protocol.desired import DesiredInterface
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.quota import ENDLESS, Quota, QuotasKept, QuotaUpdate

EVERY_S = 1.0
SHARE = 0.05  # of the time that looks may take
NEAR = 4 << 20  # bytes: a peer that has no more than this left is looked at each time
AHEAD = 10  # looks for which what is left must last, at the pace since the last one
# Bytes in the tunnel for each outside: of a full packet 1420 of 1452. A measured share counts a little less than it is.
FULL_PACKETS, CAUTION, LEAST_MEASURED = 0.97, 0.998, 1 << 16
_log = structlog.get_logger()


class QuotaInterface(Protocol):
    """An interface whose peers may have quotas."""

    lock: asyncio.Lock

    @property
    def name(self) -> InterfaceName: ...
    @property
    def config_id(self) -> ConfigId: ...
    @property
    def desired(self) -> DesiredInterface: ...

    async def count_usage(self) -> None: ...


@dataclass(slots=True)
class HeldQuota:
    """A quota in the kernel. `total`, `left`, `used`: of the meter and of the kernel when its limit was last set."""

    number: int
    networks: tuple[str, ...]
    limit: int = 0
    ceiling: int = 0
    total: int = -1
    left: int = 0
    used: int = 0
    share: float = FULL_PACKETS
    last_total: int = 0

    def is_due(self, ceiling: int, total: int) -> bool:
        """Tell whether the limit is to be set again, and note the total of this look."""
        pace, self.last_total = max(0, total - self.last_total), total
        left = ceiling - total
        if ceiling != self.ceiling or self.total < 0:
            return True
        if total == self.total:
            return False
        return left <= self.left // 2 or left <= max(NEAR, AHEAD * pace)

    def set_again(self, ceiling: int, total: int, counted: CountedBytes, number: int) -> bool:
        """Set the limit by what was counted; return whether it must be a new quota, with this number."""
        passed, used = total - self.total, counted.used - self.used
        if self.total >= 0 and passed >= LEAST_MEASURED and used > 0 and not counted.is_over:
            self.share = min(1.0, max(0.3, used / passed)) * CAUTION
        self.ceiling, self.total, self.left = ceiling, total, max(0, ceiling - total)
        if self.left and counted.is_over:  # how much it dropped since is not known
            self.number, self.used, self.limit = number, 0, int(self.left * self.share)
            return True
        self.used = counted.used
        self.limit = counted.used + int(self.left * self.share) if self.left else 0
        return False

    @property
    def in_table(self) -> TableQuota:
        """It as the kernel has it."""
        return TableQuota(self.number, self.networks, self.limit)


class QuotaKeeper:
    """Keeps the quotas of all interfaces of an agent."""

    def __init__(self, interfaces: Mapping[InterfaceName, QuotaInterface], meter: UsageMeter, file: QuotaFile) -> None:
        self._interfaces = interfaces
        self._meter = meter
        self._file = file
        self._said = file.load()
        self._held: dict[InterfaceName, dict[PublicKey, HeldQuota]] = {}
        self._numbers = itertools.count(1)
        self._failing: set[InterfaceName] = set()
        self._woken = asyncio.Event()

    async def update(self, update: QuotaUpdate) -> QuotasKept:
        """Take what the panel says, and keep it on disk."""
        changed = False
        for config_id, rows in update.configs.items():
            before = self._said.get(config_id, {})
            after = {} if update.whole else dict(before)
            after |= {each.public_key: each for each in rows}
            after = {key: each for key, each in after.items() if each.left != ENDLESS}
            if after != before:
                changed = True
                self._said[config_id] = after
        if changed:
            self._said = {config_id: rows for config_id, rows in self._said.items() if rows}
            self._woken.set()
            await asyncio.to_thread(self._file.write, {config_id: dict(rows) for config_id, rows in self._said.items()})
        return QuotasKept(sum(map(len, self._said.values())))

    async def run(self) -> None:
        """Look, again and again, until cancelled."""
        while True:
            begun = time.monotonic()
            self._woken.clear()
            await self.look()
            took = time.monotonic() - begun
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(EVERY_S, took / SHARE - took)):
                    await self._woken.wait()

    async def look(self) -> None:
        """Make the kernel's limits those that follow from what was said and counted."""
        if not nft_tables.available():
            return
        for name, interface in list(self._interfaces.items()):
            try:
                await self._look_at(interface)
                self._failing.discard(name)
            except (KernelError, OSError, ValueError) as error:  # what nft prints may be of somebody else
                self._held.pop(name, None)  # what the kernel has is not known
                if name not in self._failing:
                    _log.error("quotas.not_set", interface=name, reason=str(error))
                self._failing.add(name)
        for name in self._held.keys() - self._interfaces.keys():
            del self._held[name]

    async def _look_at(self, interface: QuotaInterface) -> None:
        said = self._said.get(interface.config_id, {})
        peers = interface.desired.peers
        wanted = without_overlaps({key: peers[key].allowed_ips for key in said if key in peers})
        held = self._held.get(interface.name)
        if held is None or bool(held) != bool(wanted):  # there is no table where there is no quota
            await self._begin(interface, wanted, said)
            return
        gone = [each for key, each in held.items() if wanted.get(key) != each.networks]
        new = {key: networks for key, networks in wanted.items() if key not in held or held[key].networks != networks}
        if gone or new:
            made = {key: self._made(interface, key, networks, said[key]) for key, networks in new.items()}
            added = [each.in_table for each in made.values()]
            await quota_table.change(interface.name, {}, added, [each.in_table for each in gone])
            self._held[interface.name] = held = {key: each for key, each in held.items() if key in wanted} | made
        due = [key for key, each in held.items() if each.is_due(*self._counted(interface, key, said[key]))]
        if due:
            await self._set_again(interface, held, due, said)

    async def _begin(
        self, interface: QuotaInterface, wanted: Mapping[PublicKey, tuple[str, ...]], said: Mapping[PublicKey, Quota]
    ) -> None:
        """Make the table, whatever is there from an agent before this one: what it counted is in the totals."""
        if not wanted:
            await quota_table.remove(interface.name)
            self._held[interface.name] = {}
            return
        await _count(interface)
        held = {key: self._made(interface, key, networks, said[key]) for key, networks in wanted.items()}
        await quota_table.replace(interface.name, [each.in_table for each in held.values()])
        self._held[interface.name] = held
        await self._set_again(interface, held, list(held), said)  # something passed since the totals were read

    def _made(self, interface: QuotaInterface, key: PublicKey, networks: tuple[str, ...], quota: Quota) -> HeldQuota:
        ceiling, total = self._counted(interface, key, quota)
        return HeldQuota(next(self._numbers), networks, max(0, int((ceiling - total) * FULL_PACKETS)))

    def _counted(self, interface: QuotaInterface, key: PublicKey, quota: Quota) -> tuple[int, int]:
        """Return up to which total a peer is let through, and its total now."""
        life, total = self._meter.total(interface.config_id, key)
        return quota.ceiling(life), total

    async def _set_again(
        self,
        interface: QuotaInterface,
        held: dict[PublicKey, HeldQuota],
        due: Iterable[PublicKey],
        said: Mapping[PublicKey, Quota],
    ) -> None:
        shown = await quota_table.counted(interface.name)
        if shown is None or any(held[key].number not in shown for key in due):
            del self._held[interface.name]  # somebody emptied the firewall
            self._woken.set()
            return
        await _count(interface)
        limits, added, removed = {}, [], []
        for key in due:
            each = held[key]
            before = each.in_table
            ceiling, total = self._counted(interface, key, said[key])
            if each.set_again(ceiling, total, shown[each.number], next(self._numbers)):
                added.append(each.in_table)
                removed.append(before)
            else:
                limits[each.number] = each.limit
        await quota_table.change(interface.name, limits, added, removed)


async def _count(interface: QuotaInterface) -> None:
    async with interface.lock:
        await interface.count_usage()


def without_overlaps(networks: Mapping[PublicKey, tuple[str, ...]]) -> dict[PublicKey, tuple[str, ...]]:
    """Leave out networks that lie in others, which a map cannot have; what passes by them counts all the same."""
    listed = sorted(
        (
            (net.version, int(net[0]), -int(net[-1]), key, text)
            for key, texts in networks.items()
            for text in texts
            if not peer_maps.is_host(text) and (net := ipaddress.ip_network(text))
        )
    )
    left_out: set[str] = set()
    ends = {4: -1, 6: -1}
    for version, first, last, _, text in listed:
        if first <= ends[version]:
            left_out.add(text)
        else:
            ends[version] = -last
    return {key: tuple(text for text in texts if text not in left_out) for key, texts in networks.items()}

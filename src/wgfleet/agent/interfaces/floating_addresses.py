"""Floating addresses: which of them this machine may have now, putting them there, and taking them away.

Owns the order of the durable steps (ledger, machine, neighbours) and the reasons against taking an address. What an
interface wants comes in with its settings; when the machine is cut off is `fence`'s to find out. Never touches an
address that is not in the ledger.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from wgfleet.agent.kernel import announce, host_addresses
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.state.ledger import Ledger, Placed
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.diff import floating_wanted
from wgfleet.protocol.ids import InterfaceName

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Seen:
    """Floating addresses of an interface: those that the machine has for it, and those not to be taken, with why."""

    held: frozenset[str] = frozenset()
    withheld: dict[str, str] = field(default_factory=dict)


@dataclass
class _Standing:
    """What is known of an interface's right to its addresses.

    `confirmed`: the panel has pushed since the agent started, or since it gave the addresses up; before that, others
    may have them. `given_up`: why none is to be taken. Of those that were asked for: `claimed` says who has an address,
    `free` are those that nobody has, `unasked` says why it could not be asked.
    """

    confirmed: bool = False
    given_up: str | None = None
    claimed: dict[str, str] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)
    unasked: dict[str, str] = field(default_factory=dict)


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


class FloatingAddresses:
    """Those of all interfaces of this machine."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._boot = boot_id()
        self._standings: dict[InterfaceName, _Standing] = {}
        self._present: dict[InterfaceName, set[str]] = {}  # in the kernel; no entry: not read since the start
        self._announcer = announce.Announcer()
        self._lock = asyncio.Lock()  # not the interfaces' own: giving up waits for no scan

    def held(self, name: InterfaceName) -> frozenset[str]:
        """Return the addresses that the machine has for an interface, as far as is noted."""
        owned = self._ledger.owned().get(name)
        ours = {} if owned is None else owned.floating
        return frozenset(address for address, placed in ours.items() if placed.boot == self._boot)

    def present(self, name: InterfaceName) -> frozenset[str] | None:
        """Return the addresses that the kernel has for an interface; None while nobody has looked.

        Never less than what is there by our doing: an address counts from before it is added until it is removed.
        """
        return None if (found := self._present.get(name)) is None else frozenset(found)

    def waits(self, name: InterfaceName) -> bool:
        """Whether the panel has to speak before an address is taken again."""
        standing = self._standings.get(name)
        return standing is not None and (standing.given_up is not None or bool(standing.claimed))

    def confirm(self, name: InterfaceName) -> None:
        """Note that the panel has pushed: what it wants is taken, whoever else claims it."""
        self._standings[name] = _Standing(confirmed=True)

    def ask_again(self, name: InterfaceName) -> None:
        """Note that the panel is back and pushes nothing: what it wanted last is taken if nobody else has it."""
        self._standings[name] = _Standing()

    async def give_up(self, name: InterfaceName, why: str) -> None:
        """Remove all addresses of an interface at once, and take none until the panel has spoken."""
        self._standings[name] = _Standing(given_up=why)
        await self.remove(name, self.held(name))

    async def forget(self, name: InterfaceName) -> None:
        """Remove all addresses of an interface that is no longer kept."""
        owned = self._ledger.owned().get(name)
        await self.remove(name, () if owned is None else owned.floating)
        self._standings.pop(name, None)
        self._present.pop(name, None)

    async def look(self, settings: InterfaceSettings) -> Seen:
        """Read what the machine has, and find out what it may take: which may ask the neighbours, for half a second."""
        name, wanted = settings.name, floating_wanted(settings)
        owned = self._ledger.owned().get(name)
        ours = {} if owned is None else owned.floating
        if not wanted and not ours:
            self._present[name] = set()
            return Seen()
        found = await host_addresses.places({*wanted, *ours})
        held = frozenset(address for address in ours if self._is_there(ours[address], found.get(address, ())))
        self._present[name] = set(held)
        for address in ours.keys() - held - wanted:
            self._displace(name, address)
        withheld = {}
        for address in wanted - held:
            if (elsewhere := found.get(address)) and not self._others(name, address):
                links = ", ".join(sorted({place.link for place in elsewhere}))
                withheld[address] = f"on {links} already and not put there by this agent; remove it there"
        standing = self._standings.setdefault(name, _Standing())
        if standing.given_up is None and not standing.confirmed:
            # Not for those that are here, as after a restart of the agent: a node that is out of order may claim them.
            await asyncio.gather(*(self._ask(name, standing, each) for each in wanted - held - withheld.keys()))
        for address in wanted - withheld.keys():
            if why := self._against(name, address, held=address in held):
                withheld[address] = why
        return Seen(held, withheld)

    async def settle(self, settings: InterfaceSettings) -> None:
        """Make the machine have what it may have, and nothing else, without looking at the interface."""
        seen, wanted = await self.look(settings), floating_wanted(settings)
        await self.remove(settings.name, seen.held - (wanted - seen.withheld.keys()))
        await self.take(settings.name, wanted - seen.held - seen.withheld.keys())

    async def take(self, name: InterfaceName, addresses: Iterable[str]) -> None:
        """Put addresses on the machine and announce them; try all, then raise the first `KernelError`.

        An address that cannot be noted, since the disk is full, is not taken.
        """
        failed: KernelError | None = None
        async with self._lock:
            for address in sorted(addresses):
                if self._against(name, address, held=False):  # since it was looked at
                    continue
                try:
                    await self._take(name, address)
                except KernelError as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    async def _take(self, name: InterfaceName, address: str) -> None:
        shared = self._others(name, address)
        link = shared.link if shared else await host_addresses.link_towards(address)
        if link in self._ledger.owned():
            raise KernelError(f"no link for address {address}: the way to it is through interface {link} of ours")
        try:
            self._ledger.place(name, address, Placed(link, self._boot))
        except OSError as error:
            raise KernelError(f"address {address}: the ledger cannot be written ({error.strerror})") from None
        if (present := self._present.get(name)) is not None:
            present.add(address)
        await host_addresses.add(address, link)
        try:
            self._announcer.start(address, link)
        except OSError as error:
            _log.warning("address not announced", address=address, link=link, reason=error.strerror)
        _log.info("floating address taken", interface=name, address=address, link=link)

    async def remove(self, name: InterfaceName, addresses: Iterable[str]) -> None:
        """Take addresses of an interface off the machine, but for those that another interface has as well.

        Try all, then raise the first `KernelError`: others may have them by now.
        """
        failed: KernelError | None = None
        async with self._lock:
            for address in sorted(addresses):
                try:
                    await self._remove(name, address)
                except KernelError as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    async def _remove(self, name: InterfaceName, address: str) -> None:
        owned = self._ledger.owned().get(name)
        placed = None if owned is None else owned.floating.get(address)
        if placed is None:
            return
        if placed.boot == self._boot and self._others(name, address) is None:
            self._announcer.stop(address)
            await host_addresses.remove(address, placed.link)
            _log.info("floating address removed", interface=name, address=address, link=placed.link)
        self._present.get(name, set()).discard(address)
        self._displace(name, address)

    def _displace(self, name: InterfaceName, address: str) -> None:
        """Note that an address is gone. On a full disk the entry stays, which is no more than what may be ours."""
        with contextlib.suppress(OSError):
            self._ledger.displace(name, address)

    async def _ask(self, name: InterfaceName, standing: _Standing, address: str) -> None:
        if address in standing.claimed or address in standing.free:
            return
        try:
            link = await host_addresses.link_towards(address)
            who = await announce.claimant(address, link)
        except KernelError as error:
            standing.unasked[address] = str(error)
            return
        if who is None:
            standing.free.add(address)
        else:
            standing.claimed[address] = who
            _log.error("floating address left alone", interface=name, address=address, link=link, claimed_by=who)

    def _against(self, name: InterfaceName, address: str, *, held: bool) -> str | None:
        """Say why an address is not to be taken, or not to be kept if it is `held`; None if nothing is against it."""
        standing = self._standings.get(name) or _Standing()
        if standing.given_up is not None:
            return standing.given_up
        if address in standing.claimed:
            return f"{standing.claimed[address]} has it; waiting for the panel's word"
        if standing.confirmed or held or address in standing.free:
            return None
        return standing.unasked.get(address, "not asked yet who has it")

    def _is_there(self, placed: Placed, found: Iterable[host_addresses.Place]) -> bool:
        return placed.boot == self._boot and any(place.alone and place.link == placed.link for place in found)

    def _others(self, name: InterfaceName, address: str) -> Placed | None:
        """Return where an address is for another interface of ours."""
        for other, owned in self._ledger.owned().items():
            placed = owned.floating.get(address)
            if other != name and placed is not None and placed.boot == self._boot:
                return placed
        return None

"""Floating addresses of this machine: which it may hold now, how they are added, and how they are removed.

Owns the order of the durable steps (ledger, machine, neighbors) and the reasons against taking an address. What an
interface wants comes in with its settings; `isolation` finds out when the machine is cut off. Never touches an address
that is not in the ledger.

Where another node can have an address, the kernel has it for a time only, and takes it off by itself unless that is
renewed: an agent that hangs, or is dead, holds nothing.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from wgfleet.agent.interfaces.address_places import AddressPlaces
from wgfleet.agent.interfaces.address_record import AddressRecord
from wgfleet.agent.kernel import announce, host_addresses
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.state.ledger import Ledger, Placed
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.diff import floating_wanted
from wgfleet.protocol.ids import InterfaceName

_LEAST_S = 2  # that the kernel gets: it counts in whole s, and an agent may be held up for one
LAPSED = "given up: the agent was held up for longer than it may hold them unheard; waiting for the panel"
_RIVAL_S = 15.0  # three announcements of another node
_READ_WRONG_S = 1.0  # by which the time left, as the kernel tells it, may be too long
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ObservedAddresses:
    """Floating addresses of an interface: those that the machine has for it, and those not to be taken, with why."""

    held: frozenset[str] = frozenset()
    withheld: dict[str, str] = field(default_factory=dict)


@dataclass
class _Rights:
    """What is known of an interface's right to its addresses.

    `confirmed`: the panel has pushed since the agent started, or since it gave the addresses up; before that, others
    may have them. `contested`: those that are asked for even so, again and again. `given_up`: why none may be taken.
    Results of asking the neighbors: `claimed` says who has an address, `free` are those that nobody has, `unchecked`
    says why they could not be asked.
    """

    confirmed: bool = False
    contested: frozenset[str] = frozenset()
    given_up: str | None = None
    claimed: dict[str, str] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)
    unchecked: dict[str, str] = field(default_factory=dict)


class FloatingAddresses:
    """The floating addresses of all interfaces of this machine."""

    def __init__(self, ledger: Ledger) -> None:
        self._record = AddressRecord(ledger)
        self._rights: dict[InterfaceName, _Rights] = {}
        self._present: dict[InterfaceName, set[str]] = {}  # in the kernel; no entry: not read since the start
        self._lapses_at: dict[str, float] = {}  # when the kernel may take an address off; s of the monotonic clock
        self._doubted_at: dict[InterfaceName, float] = {}  # when the panel may last have given them to another node
        self._time_s: dict[InterfaceName, float | None] = {}  # that an address is taken for; None: for ever
        self.places = AddressPlaces()
        self._announcer = announce.Announcer()
        self._rivals = announce.Rivals()
        self._lock = asyncio.Lock()  # not the interfaces' own: giving up waits for no scan

    def held(self, name: InterfaceName) -> frozenset[str]:
        """Return the addresses that the machine has for an interface according to the ledger."""
        return self._record.held(name)

    def present(self, name: InterfaceName) -> frozenset[str] | None:
        """Return the addresses that the kernel has for an interface; None until they were read.

        Never fewer than the agent added: an address counts from before it is added until after it is removed.
        """
        return None if (found := self._present.get(name)) is None else frozenset(found)

    def waits_for_panel(self, name: InterfaceName) -> bool:
        """Whether an address may be taken again only after the panel has pushed."""
        rights = self._rights.get(name)
        return rights is not None and (rights.given_up is not None or (bool(rights.claimed) and not rights.confirmed))

    def asks(self, name: InterfaceName) -> bool:
        """Whether an address is still taken by another machine and becomes ours when that has left it."""
        rights = self._rights.get(name)
        return rights is not None and rights.confirmed and bool(rights.contested & rights.claimed.keys())

    async def ask_again(self, name: InterfaceName) -> bool:
        """Ask for the addresses that another machine has; tell whether one is free now."""
        rights = self._rights.get(name) or _Rights()
        contested = rights.contested & rights.claimed.keys()
        await asyncio.gather(*(self._check_claim(name, rights, each, again=True) for each in contested))
        return not contested <= rights.claimed.keys()

    def confirm(self, name: InterfaceName, heard_at: float) -> None:
        """Note that the panel has pushed: its addresses are taken even if another machine claims them.

        Not if it last heard this agent (`heard_at`, s of the monotonic clock) before they were given up, or before the
        kernel took one off: the push was under way meanwhile, and another node may have them by now.
        """
        if heard_at < self.lapses_at(name) <= time.monotonic():
            self._rights[name] = _Rights(given_up=LAPSED)
            self.doubt(name)
        elif heard_at >= self._doubted_at.get(name, -math.inf):
            before = self._rights.get(name) or _Rights()
            # What is asked for goes on being asked for: a push of users alone does not look at addresses.
            claimed = {address: who for address, who in before.claimed.items() if address in before.contested}
            self._rights[name] = _Rights(confirmed=True, contested=before.contested, claimed=claimed)

    def doubt(self, name: InterfaceName) -> None:
        """Note that the panel may give the addresses of an interface to another node just now."""
        self._doubted_at[name] = time.monotonic()

    def recheck_claims(self, name: InterfaceName) -> None:
        """Note that the panel is back but pushes nothing: take what it last wanted, if nobody else has it."""
        self._rights[name] = _Rights()

    def lapses_at(self, name: InterfaceName) -> float:
        """Return when the kernel may take off the first address of an interface, in s of the monotonic clock."""
        return min((self._lapses_at.get(address, math.inf) for address in self.held(name)), default=math.inf)

    async def renew(self, name: InterfaceName, left_s: float | None) -> bool:
        """Let the kernel keep an interface's addresses for `left_s` from now, or a little longer; None: for ever.

        False if the time of one was over before: this process was held up, and another node may have it by now.
        """
        async with self._lock:
            for address in sorted(self.held(name) & (self.present(name) or frozenset())):
                placed = self._record.of(name)[address]
                before = self._lapses_at.get(address, math.inf)
                if not await self._put(address, placed.link, left_s, not_after=before):
                    return False
                if time.monotonic() >= before:  # stopped just there; the kernel may have had to add it again
                    return False
        return True

    async def _put(self, address: str, link: str, left_s: float | None, *, not_after: float = math.inf) -> bool:
        valid_s = None if left_s is None else max(_LEAST_S, math.ceil(left_s))
        lapses_at = math.inf if valid_s is None else time.monotonic() + valid_s
        if asked := await host_addresses.put(address, link, valid_s, not_after):
            self._lapses_at[address] = lapses_at
        return asked

    def rivals(self, name: InterfaceName) -> dict[str, str]:
        """Return who else said lately to have an address that this machine has, by address: their link addresses."""
        since = time.monotonic() - _RIVAL_S
        return {
            address: who
            for address, (who, at) in self._rivals.found.items()
            if at >= since and address in self.held(name)
        }

    def conflicts(self, name: InterfaceName) -> dict[str, str]:
        """Return who else has an address that this machine has or is to have, by address: their link addresses."""
        rights = self._rights.get(name) or _Rights()
        return {**rights.claimed, **self.rivals(name)}

    async def give_up(self, name: InterfaceName, why: str) -> None:
        """Remove all addresses of an interface now, and take none until the panel has pushed."""
        self._rights[name] = _Rights(given_up=why)
        self.doubt(name)
        await self.remove(name, self.held(name))

    async def forget(self, name: InterfaceName) -> None:
        """Remove all addresses of an interface that the agent no longer keeps."""
        await self.remove(name, self._record.of(name))
        self._rights.pop(name, None)
        self._present.pop(name, None)
        self._doubted_at.pop(name, None)
        self._time_s.pop(name, None)
        self.places.forget(name)

    def close(self) -> None:
        """Stop listening for others that have the addresses: before the event loop ends. Addresses stay."""
        self._rivals.close()
        self._record.close()

    async def recover(self, settings: InterfaceSettings) -> None:
        """Count the addresses of an interface that the machine has as ours: the ledger that would say so was lost."""
        wanted = floating_wanted(settings)
        for address, places in (await host_addresses.locate(wanted)).items():
            for place in places:
                if place.alone:
                    self._record.place(settings.name, address, place.link, lapses=False)

    async def observe(self, settings: InterfaceSettings) -> ObservedAddresses:
        """Read what the machine has, and find out what it may take; asking the neighbors can take half a second."""
        name, wanted = settings.name, floating_wanted(settings)
        await self.places.note(settings)
        ours = self._record.of(name)
        if not wanted and not ours:
            self._present[name] = set()
            return ObservedAddresses()
        floating = settings.floating
        self._time_s[name] = None if floating is None or not floating.witnesses else floating.give_up_after_s
        found = await host_addresses.locate({*wanted, *ours})
        held = frozenset(address for address in ours if self._is_there(ours[address], found.get(address, ())))
        self._present[name] = set(held)
        self._read_times(ours, found)
        self._note_lapsed(name, ours.keys() - held)
        for address in held:
            with contextlib.suppress(OSError):
                self._rivals.start(address, ours[address].link)
        for address in ours.keys() - held - wanted:
            self._record.displace(name, address)
        withheld = self._misplaced(name, wanted, held, ours, found)
        rights = self._rights.setdefault(name, _Rights())
        rights.contested = (frozenset(floating.ask_first) if floating else frozenset()) & (wanted - held)
        if rights.confirmed:
            rights.claimed = {each: who for each, who in rights.claimed.items() if each in rights.contested}
            asked = rights.contested - withheld.keys()
            await asyncio.gather(*(self._check_claim(name, rights, each, again=True) for each in asked))
        elif rights.given_up is None:
            # Not for those that are here, as after a restart of the agent: a faulty node may claim them.
            await asyncio.gather(*(self._check_claim(name, rights, each) for each in wanted - held - withheld.keys()))
        for address in wanted - withheld.keys():
            if why := self._reason_against(name, address, held=address in held):
                withheld[address] = why
        return ObservedAddresses(held, withheld)

    def _misplaced(
        self,
        name: InterfaceName,
        wanted: Iterable[str],
        held: frozenset[str],
        ours: Mapping[str, Placed],
        found: Mapping[str, Sequence[host_addresses.Location]],
    ) -> dict[str, str]:
        """Say which addresses cannot be where they belong just now, and why."""
        withheld = {}
        for address in wanted:
            if address in held:
                if self.places.is_wrong(name, ours[address].link):
                    withheld[address] = f"leaves {ours[address].link} first"
            elif (elsewhere := found.get(address)) and not self._record.others(name, address):
                links = ", ".join(sorted({location.link for location in elsewhere}))
                withheld[address] = f"already on {links}, where this agent did not add it; remove it there"
        return withheld

    def _read_times(self, ours: Mapping[str, Placed], found: Mapping[str, Sequence[host_addresses.Location]]) -> None:
        """Note how long the kernel keeps what the agent before this one added."""
        for address in ours.keys() - self._lapses_at.keys():
            for location in found.get(address, ()):
                if location.link == ours[address].link and location.valid_s is not None:
                    self._lapses_at[address] = time.monotonic() + location.valid_s - _READ_WRONG_S

    def _note_lapsed(self, name: InterfaceName, missing: Iterable[str]) -> None:
        """Take none where the time of one that is missing is over: the kernel took it off, and others may have it."""
        now = time.monotonic()
        if lapsed := [each for each in missing if self._lapses_at.get(each, math.inf) <= now]:
            for address in lapsed:
                del self._lapses_at[address]
            self._rights[name] = _Rights(given_up=LAPSED)
            self.doubt(name)
            _log.error("floating_address.given_up", interface=name, addresses=lapsed, reason=LAPSED)

    async def converge(self, settings: InterfaceSettings) -> None:
        """Add what the machine may have and remove the rest, without reading the interface."""
        seen, wanted = await self.observe(settings), floating_wanted(settings)
        await self.remove(settings.name, seen.held - (wanted - seen.withheld.keys()))
        await self.take(settings.name, wanted - seen.held - seen.withheld.keys())

    async def take(self, name: InterfaceName, addresses: Iterable[str]) -> None:
        """Add addresses to the machine and announce them; try all, then raise the first `KernelError`.

        One that the kernel would keep for ever is not taken while the ledger cannot be written, since the disk is full.
        """
        failed: KernelError | None = None
        async with self._lock:
            for address in sorted(addresses):
                if self._reason_against(name, address, held=False):  # changed since it was observed
                    continue
                try:
                    await self._take(name, address)
                except KernelError as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    async def _take(self, name: InterfaceName, address: str) -> None:
        shared = self._record.others(name, address)
        link = shared.link if shared else await self.places.link(name, address)
        time_s = self._time_s.get(name)
        if self._record.is_ours(link):
            raise KernelError(f"no link for address {address}: its route leads through our own interface {link}")
        try:
            self._record.place(name, address, link, lapses=time_s is not None)
        except OSError as error:
            raise KernelError(f"address {address}: the ledger cannot be written ({error.strerror})") from None
        if (present := self._present.get(name)) is not None:
            present.add(address)
        await self._put(address, link, time_s)
        try:
            self._rivals.start(address, link)
            self._announcer.start(address, link)
        except OSError as error:
            _log.warning("floating_address.not_announced", address=address, link=link, reason=error.strerror)
        _log.info("floating_address.taken", interface=name, address=address, link=link)

    async def remove(self, name: InterfaceName, addresses: Iterable[str]) -> None:
        """Remove addresses of an interface from the machine, except those that another interface has too.

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
        placed = self._record.of(name).get(address)
        if placed is None:
            return
        if self._record.is_now(placed) and self._record.others(name, address) is None:
            self._announcer.stop(address)
            self._rivals.stop(address)
            await host_addresses.remove(address, placed.link)
            self._lapses_at.pop(address, None)
            _log.info("floating_address.removed", interface=name, address=address, link=placed.link)
        self._present.get(name, set()).discard(address)
        self._record.displace(name, address)

    async def _check_claim(self, name: InterfaceName, rights: _Rights, address: str, *, again: bool = False) -> None:
        """Ask the neighbors who has an address; `again`: also if that is known, quickly."""
        if not again and (address in rights.claimed or address in rights.free):
            return
        try:
            link = await self.places.link(name, address)
            who = await self.places.claimant(name, address, link, quickly=again)
        except KernelError as error:
            rights.unchecked[address] = str(error)
            return
        before = rights.claimed.pop(address, None)
        rights.free.discard(address)
        if who is None:
            rights.free.add(address)
            return
        rights.claimed[address] = who
        if who != before:
            _log.error("floating_address.claimed_elsewhere", interface=name, address=address, link=link, claimed_by=who)

    def _reason_against(self, name: InterfaceName, address: str, *, held: bool) -> str | None:
        """Return why an address must not be taken, or kept if it is `held`; None if there is no reason."""
        rights = self._rights.get(name) or _Rights()
        if rights.given_up is not None:
            return rights.given_up
        if (fault := self.places.fault(name)) is not None:
            return fault
        if address in rights.claimed:
            waits_for = "until it is free" if address in rights.contested else "for the panel"
            return f"{rights.claimed[address]} has it; waiting {waits_for}"
        if held or address in rights.free or (rights.confirmed and address not in rights.contested):
            return None
        return rights.unchecked.get(address, "not checked yet who has it")

    def _is_there(self, placed: Placed, found: Iterable[host_addresses.Location]) -> bool:
        return self._record.is_now(placed) and any(each.alone and each.link == placed.link for each in found)

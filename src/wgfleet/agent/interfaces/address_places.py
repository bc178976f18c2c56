"""Places of an interface's floating addresses on the machine: a link, where neighbors find them, or loopback.

On loopback are those to which routers or a cloud lead packets. Owns which it is, and who is asked whether another
machine has one: the neighbors, the routing daemon, or nobody.
"""

from collections.abc import Mapping

from wgfleet.agent.kernel import announce, host_addresses
from wgfleet.agent.kernel.routing_daemons import LINK, RoutingDaemons
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.diff import BFD_FIELD, ROUTING_FIELD, TRANSLATED_FIELD, Drift
from wgfleet.protocol.ids import InterfaceName


class AddressPlaces:
    """Where the addresses of each interface are to be, and why routers do not find them there."""

    def __init__(self) -> None:
        self.daemons = RoutingDaemons()
        self._loopback: set[InterfaceName] = set()
        self._routed: set[InterfaceName] = set()  # of these, those that routers are to find
        self._faults: dict[InterfaceName, str] = {}
        self._unguarded: dict[InterfaceName, str] = {}
        self._absent: dict[InterfaceName, list[str]] = {}  # of the private addresses that a cloud translates

    async def note(self, settings: InterfaceSettings) -> None:
        """Note what an interface wants, and which addresses the machine lacks that are not for the agent to add."""
        name, floating = settings.name, settings.floating
        (self._routed.add if floating and floating.routed else self._routed.discard)(name)
        there = floating is not None and (floating.routed or floating.bound)
        (self._loopback.add if there else self._loopback.discard)(name)
        private = frozenset(floating.translated) if floating else frozenset()
        self._absent[name] = sorted(private - (await host_addresses.locate(private)).keys()) if private else []

    def forget(self, name: InterfaceName) -> None:
        """Forget an interface that the agent no longer keeps."""
        self._loopback.discard(name)
        self._routed.discard(name)
        self._faults.pop(name, None)
        self._unguarded.pop(name, None)
        self._absent.pop(name, None)

    def drift(self, name: InterfaceName) -> tuple[Drift, ...]:
        """Say what keeps routers or a cloud from leading packets here."""
        fault = self.fault(name)
        routing = () if fault is None else (Drift(ROUTING_FIELD, "announced to routers", fault),)
        unguarded = self._unguarded.get(name) if name in self._routed else None
        bfd = () if unguarded is None else (Drift(BFD_FIELD, "up", unguarded),)
        absent = (
            Drift(f"{TRANSLATED_FIELD}.{address}", "on a link", "on none: calls leave from the machine's own address")
            for address in self._absent.get(name, ())
        )
        return (*routing, *bfd, *absent)

    def fault(self, name: InterfaceName) -> str | None:
        """Return why routers do not find the addresses of an interface that are to be routed; None: they do."""
        return self._faults.get(name) if name in self._routed else None

    def set_fault(self, name: InterfaceName, why: str | None) -> None:
        """Note whether routers find what is here; where they do not, no address is taken or kept."""
        self._faults.pop(name, None)
        if why is not None:
            self._faults[name] = why

    def set_unguarded(self, name: InterfaceName, why: str | None) -> None:
        """Note why routers would notice late that this machine has died; what is here stays all the same."""
        self._unguarded.pop(name, None)
        if why is not None:
            self._unguarded[name] = why

    def is_wrong(self, name: InterfaceName, link: str) -> bool:
        """Whether an address that is on `link` belongs elsewhere."""
        return (link == LINK) is not (name in self._loopback)

    async def link(self, name: InterfaceName, address: str) -> str:
        """Return the link that an address belongs on."""
        return LINK if name in self._loopback else await host_addresses.link_towards(address)

    async def claimant(self, name: InterfaceName, address: str, link: str, *, quickly: bool) -> str | None:
        """Return who else has an address; None if nobody has, or nobody can be asked."""
        if name in self._routed:
            return await self.daemons.claimant(address)
        return await announce.claimant(address, link, asks=announce.AT_ONCE if quickly else announce.PATIENTLY)


def drift_of_rivals(rivals: Mapping[str, str]) -> tuple[Drift, ...]:
    """Return what is not as wanted where others, by link address, say that they have addresses of this machine."""
    return tuple(
        Drift(f"floating.{address}", "here alone", f"{who} says that it has it too")
        for address, who in sorted(rivals.items())
    )

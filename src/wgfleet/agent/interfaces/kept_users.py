"""Kept users: those who were drawn here, and whose earlier TCP connections go on through the NAT of the node before.

It is a help for users in a planned move: where it fails, their connections are ended as after a death.
"""

import asyncio
from collections.abc import Collection, Iterable

import structlog

from wgfleet.agent.kernel import kept_flows
from wgfleet.agent.kernel.backbone_rules import BackboneNames
from wgfleet.agent.kernel.commands import KernelError

_HOST_BITS = ("/32", "/128")
_log = structlog.get_logger()


class KeptUsers:
    """Which users' connections go on through which nodes: as it is wanted, and as the kernel has it."""

    def __init__(self) -> None:
        self._wanted: dict[str, int] = {}  # node by address
        self._have: dict[str, int] = {}
        self._led: set[int] = set()
        self._sure = True
        self._lock = asyncio.Lock()

    def keep(self, networks: Iterable[str], number: int) -> None:
        """Have connections of users go on through a node; not those of who is behind a network of a peer."""
        self._wanted |= {each.partition("/")[0]: number for each in networks if each.endswith(_HOST_BITS)}

    def forget(self, networks: Iterable[str]) -> None:
        """Have no connections of these users go on."""
        for each in networks:
            self._wanted.pop(each.partition("/")[0], None)

    def has(self, networks: Iterable[str]) -> bool:
        """Whether connections of these users go on."""
        return any(each.partition("/")[0] in self._wanted for each in networks)

    def only_through(self, numbers: Collection[int]) -> list[str]:
        """Have connections go on through these nodes alone; return the networks of users who lose theirs."""
        lost = [each for each, number in self._wanted.items() if number not in numbers]
        for each in lost:
            del self._wanted[each]
        return [f"{each}{_HOST_BITS[':' in each]}" for each in lost]

    def made_again(self, *, rules: bool, tunnel: bool) -> None:
        """Note that the kernel has nothing of it any more, in the firewall's maps or on the device."""
        if rules:
            self._have.clear()
        if tunnel:
            self._led.clear()

    async def converge(self, names: BackboneNames) -> None:
        """Have the kernel do what is wanted."""
        async with self._lock:
            wanted = dict(self._wanted)
            numbers = set(wanted.values())
            if wanted == self._have and numbers == self._led and self._sure:
                return
            try:
                await self._change(names, wanted, numbers)
            except (KernelError, OSError) as error:
                self._sure = False
                _log.warning("flows.not_kept", interface=names.of, users=len(wanted), reason=str(error))

    async def _change(self, names: BackboneNames, wanted: dict[str, int], numbers: set[int]) -> None:
        await kept_flows.lead(names, numbers - self._led)
        self._led |= numbers
        have = self._have if self._sure else {}
        gone = {each: number for each, number in have.items() if wanted.get(each) != number}
        new = {each: number for each, number in wanted.items() if have.get(each) != number}
        await kept_flows.change(names, gone, new, first_empty=not self._sure)
        self._have, self._sure = wanted, True
        await kept_flows.lead_no_more(names, self._led - numbers)
        self._led = numbers

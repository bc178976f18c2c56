"""The machine as the rest of the agent sees it: which kind of WireGuard it has, and whole interfaces.

Owns creating and removing links of either kind. Must be used only for interfaces that the ledger lists.
"""

import os
import resource
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from wgfleet.agent.kernel import (
    destination_table,
    links,
    mute_table,
    nftables,
    quota_table,
    source_routes,
    speed_table,
    userspace,
    wg,
)
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.device_formats import Reading
from wgfleet.agent.kernel.links import Link
from wgfleet.agent.kernel.source_routes import SourceRoutes, SourceRouteTables
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.diff import InterfacePlan, PlanStep
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey

Backend = Literal["kernel", "userspace"]
_CAP_NET_ADMIN = 12  # linux/capability.h
_PROBE = InterfaceName("wgfleet-probe")
# wireguard-go starts all the handshakes that it is asked for before it reads any answer, and a peer that has accepted
# one loses what it sends until its answer is read. Measured with 10 peers at 80 packets/s, 120 takeovers each: calls of
# 10 lost 48 packets, calls of 2 lost 8. The kernel has workers for handshakes.
_CALLS_AT_ONCE: dict[Backend, int] = {"userspace": 2, "kernel": 256}


async def detect() -> Backend:
    """Find out whether the kernel has WireGuard, by making a link and removing it."""
    for last in (False, False, True):
        # An agent that was killed in between has left its link; one that starts beside this one makes it again.
        await links.delete(_PROBE)
        try:
            made = await links.create_wireguard(_PROBE)
            break
        except KernelError:
            if last:
                raise
    if not made:
        return "userspace"
    await links.delete(_PROBE)
    return "kernel"


class Rules(NamedTuple):
    """Whether an interface has what its nftables table is for."""

    masquerade: bool
    filtered: bool


class Members(NamedTuple):
    """With whom a device's peers speak, where, and who they are."""

    private_key: PrivateKey | None
    listen_port: int
    peers: frozenset[PublicKey]


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that the agent runs on.

    `log_dir` takes what wireguard-go prints when it crashes; users never reach the agent's own `agent_port`.
    """

    backend: Backend
    log_dir: Path
    agent_port: int | None = None
    _source_routes: SourceRouteTables = field(default_factory=SourceRouteTables)

    def reading(self, name: InterfaceName) -> AbstractAsyncContextManager[Reading]:
        """Read a device by the cheapest way."""
        return userspace.reading(name) if self.backend == "userspace" else wg.reading(name)

    async def link(self, name: InterfaceName) -> Link | None:
        """Read the link; None when there is none."""
        return await links.observe(name)

    async def rules(self, settings: InterfaceSettings, link: Link | None) -> Rules:
        """Whether masquerading and the filter are on; wrong rules count as the opposite of what is wanted."""
        found = await nftables.observe(settings, self.agent_port)
        grouped = link is not None and link.group == links.GROUP
        masquerades = settings.masquerade and settings.enabled
        return Rules(
            masquerade=found.masquerade is True if masquerades else found.masquerade is not False,
            filtered=found.filtered is not False if settings.reach is None else found.filtered is True and grouped,
        )

    def cpu_s(self, name: InterfaceName) -> float:
        """CPU time used by the agent, its finished children and the interface's own process, in s."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = time.process_time() + children.ru_utime + children.ru_stime
        return own + (userspace.cpu_s(name) if self.backend == "userspace" else 0.0)

    async def create(self, name: InterfaceName) -> None:
        """Create a link, mark it as ours, and wait until it can be configured."""
        if self.backend == "userspace":
            await userspace.start(name, self.log_dir)
        elif not await links.create_wireguard(name):
            raise KernelError(f"link {name} cannot be created: the kernel no longer has WireGuard; restart the agent")
        try:
            await links.mark(name)
        except KernelError:
            await links.delete(name)  # unmarked it would be taken for somebody else's
            raise

    async def claim(self, name: InterfaceName, private_key: PrivateKey, *, fresh: bool) -> bool:
        """Mark a link if it has this key; `fresh`: or none yet. Whether it was marked: if not, it is another's."""
        found = await self.members(name)
        if found is None or (found.private_key != private_key and not (fresh and found.private_key is None)):
            return False
        await links.mark(name)
        return True

    async def members(self, name: InterfaceName) -> "Members | None":
        """Read whose key a device has, and which peers; None where the link is no WireGuard device."""
        peers: set[PublicKey] = set()
        try:
            async with self.reading(name) as reading:
                async for blocks in reading.blocks:
                    peers.update(map(reading.form.key_of, blocks))
                return Members(reading.device.private_key, reading.device.listen_port, frozenset(peers))
        except KernelError:
            return None

    async def delete(self, name: InterfaceName) -> None:
        """Remove the link, its process and its nftables table; anything already gone is no error."""
        await nftables.remove(name)
        await mute_table.remove(name)
        await quota_table.remove(name)
        await speed_table.remove(name)
        await destination_table.remove(name)
        pid = userspace.process_of(name) if self.backend == "userspace" else None
        await links.delete(name)
        if pid is not None:
            await userspace.kill(pid)
        if self.backend == "userspace":
            (self.log_dir / f"wireguard-go.{name}.log").unlink(missing_ok=True)

    async def crash(self, name: InterfaceName) -> str | None:
        """Wait until the interface's process ends and return its last words; None at once when it has none."""
        pid = userspace.process_of(name) if self.backend == "userspace" else None
        if pid is None:
            return None
        await userspace.stopped(pid)
        return userspace.last_words(name, self.log_dir)

    async def answers(self, name: InterfaceName, within_s: float) -> bool:
        """Whether the interface's WireGuard does anything. That of the kernel hangs with the machine alone."""
        return self.backend == "kernel" or await userspace.answers(name, within_s)

    async def execute(self, plan: InterfacePlan, desired: DesiredInterface) -> dict[str, str]:
        """Carry out a plan in order, with as few processes as possible.

        Return the addresses and routes that could not be had, by field as in `diff`, with the reason.
        """
        settings, steps = desired.settings, set(plan.steps)
        refused: dict[str, str] = {}
        if PlanStep.CREATE_LINK in steps:
            await self.create(settings.name)
        if PlanStep.REMOVE_PEERS in steps:
            await wg.remove_peers(settings.name, plan.remove_peers)
        if steps & {PlanStep.SET_DEVICE, PlanStep.UPSERT_PEERS}:
            await wg.configure(
                settings.name,
                device=(settings.private_key, settings.listen_port) if PlanStep.SET_DEVICE in steps else None,
                peers={key: desired.peers[key] for key in plan.upsert_peers},
            )
        not_filtered: KernelError | None = None
        if steps & {PlanStep.SET_FILTER, PlanStep.SET_MASQUERADE}:
            try:
                await self._set_rules(settings)
            except KernelError as error:
                not_filtered = error  # those who use the interface already are to have the rest
        if steps & _LINK_STEPS:
            refused = await links.change(
                settings.name,
                mtu=settings.mtu if PlanStep.SET_MTU in steps else None,
                up=settings.enabled if PlanStep.SET_LINK in steps else None,
                remove_addresses=plan.remove_addresses,
                add_addresses=plan.add_addresses,
                remove_routes=plan.remove_routes,
                add_routes=plan.add_routes,
            )
        if PlanStep.SET_MASQUERADE in steps and settings.masquerade and settings.enabled:
            await nftables.turn_forwarding_on(settings.addresses)
        if not_filtered is not None:
            raise not_filtered
        return refused

    async def _set_rules(self, settings: InterfaceSettings) -> None:
        await nftables.apply(settings, self.agent_port)
        if settings.reach is not None:
            await links.set_group(settings.name)

    async def change_peers(
        self, name: InterfaceName, *, upsert: Mapping[PublicKey, DesiredPeer], remove: tuple[PublicKey, ...]
    ) -> None:
        """Apply a delta of peers without reading the device first."""
        if remove:
            await wg.remove_peers(name, remove)
        if upsert:
            await wg.configure(name, device=None, peers=upsert)

    @property
    def calls_at_once(self) -> int:
        """How many peers to pass to one `call`."""
        return _CALLS_AT_ONCE[self.backend]

    async def drop_sessions(self, name: InterfaceName, peers: Iterable[PublicKey]) -> None:
        """Prepare peers for `call`, which has to follow for each.

        A peer with an old session, or called less than 5 s ago, would not handshake again (REKEY_TIMEOUT), so `call`
        creates each one afresh. Its counters start at zero.
        """
        await wg.remove_peers(name, peers)

    async def call(
        self, name: InterfaceName, peers: Mapping[PublicKey, DesiredPeer], endpoints: Mapping[PublicKey, str]
    ) -> None:
        """Start a handshake with each of `peers` at its endpoint."""
        await wg.configure(name, device=None, peers=peers, call=endpoints)

    async def expect(
        self, name: InterfaceName, peers: Mapping[PublicKey, DesiredPeer], endpoints: Mapping[PublicKey, str]
    ) -> None:
        """Say where each of `peers` is, so that a packet to one starts a handshake, and waits for its end."""
        await wg.configure(name, device=None, peers=peers, call=endpoints, at_once=False)

    async def send_keepalives(self, name: InterfaceName, peers: Iterable[PublicKey]) -> None:
        """Send a keepalive to each of `peers` now, and leave them with a persistent keepalive of 1 s."""
        await wg.send_keepalives(name, peers)

    def open_source_routes(self, settings: InterfaceSettings) -> AbstractAsyncContextManager[SourceRoutes]:
        """Open the routes that choose the source address of a `call`."""
        return self._source_routes.open(settings.listen_port)

    async def remove_leftover_source_routes(self) -> None:
        """Remove the source routes that a killed agent left."""
        await source_routes.remove_leftovers()

    async def end_call(self, name: InterfaceName, keepalives: Mapping[PublicKey, int]) -> None:
        """Put back the peers' own persistent keepalives."""
        await wg.set_keepalives(name, keepalives)


_LINK_STEPS = {
    PlanStep.SET_MTU,
    PlanStep.SET_LINK,
    PlanStep.REMOVE_ADDRESSES,
    PlanStep.ADD_ADDRESSES,
    PlanStep.REMOVE_ROUTES,
    PlanStep.ADD_ROUTES,
}


def has_ipv6(name: InterfaceName) -> bool:
    """Whether the link may have IPv6 addresses."""
    return links.has_ipv6(name)


def link_exists(name: InterfaceName) -> bool:
    """Whether there is any link of that name, ours or not."""
    return links.index_of(name) is not None


def index_of(name: InterfaceName) -> int | None:
    """Return the index of the link of that name, ours or not."""
    return links.index_of(name)


def check_root() -> None:
    """Raise `KernelError` unless the agent may change interfaces."""
    if os.geteuid() != 0:
        raise KernelError("the agent changes network interfaces; run it as root or with CAP_NET_ADMIN as its unit does")
    if not _has_net_admin():
        raise KernelError(
            "the agent changes network interfaces and lacks the capability CAP_NET_ADMIN although it is root: "
            "a container or a unit took it away; give it (docker: --cap-add NET_ADMIN; "
            "unit: CapabilityBoundingSet=CAP_NET_ADMIN)"
        )


def _has_net_admin() -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return True

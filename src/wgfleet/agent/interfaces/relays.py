"""Relays: clients that other nodes cannot call go on sending here, and their packets go on to the node that has them.

Owns who is relayed and until when, on disk before it is so in the kernel. A relay needs no interface: it stays when the
node leaves the config, and ends by its time, which this machine counts by itself, or by the panel's word.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import structlog

from wgfleet.agent.kernel import forwarding, nft_tables, relay_table
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.relay_table import RelayedFlow
from wgfleet.agent.state.relay_files import KeptRelay, KeptRelays, RelayFiles
from wgfleet.protocol.addresses import parse_endpoint, split_endpoint
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey, parse_public_key
from wgfleet.protocol.relay import (
    MAX_RELAY_S,
    MAX_RELAYED,
    AllRelays,
    InterfaceRelays,
    RelayProlongation,
    RelayRequest,
    RelayStatus,
)

# Below those that Linux gives to programs (32768 and up).
PORTS = range(20000, 30000)
LOOK_S = 2.0
_ADDRESSES_S = 30.0  # between two looks at this machine's addresses: one takes some 10 microseconds for each client
_WRITE_S = 600.0  # a machine that comes back with a clock that is behind gives relays so much more at most
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InKernel:
    """What the kernel was given, as in `relay_table.apply`, and when by the monotonic clock."""

    flows: tuple[RelayedFlow, ...]
    alone: bool
    at: float


class Relays:
    """All relays of this machine. `serves`: whether an interface of the agent uses a port."""

    def __init__(self, files: RelayFiles, serves: Callable[[int], bool]) -> None:
        self._files = files
        self._clock = files.clock
        self._written_at: dict[InterfaceName, float] = {}
        self._serves = serves
        self._applied: dict[InterfaceName, InKernel] = {}  # as it is in the kernel
        self._failing: dict[InterfaceName, str] = {}
        self._kept: dict[InterfaceName, KeptRelays] = {}
        self._lock = asyncio.Lock()

    def status(self, name: InterfaceName) -> RelayStatus:
        """Return who is relayed."""
        kept = self._kept.get(name)
        peers = {} if kept is None else kept.peers
        return RelayStatus({key: each.shown(self._clock) for key, each in peers.items()})

    def all(self) -> AllRelays:
        """Return who is relayed, of all interfaces."""
        return AllRelays(
            {name: InterfaceRelays(kept.config_id, self.status(name).peers) for name, kept in self._kept.items()}
        )

    def port_of(self, name: InterfaceName, wanted: RelayRequest) -> int | None:
        """Return the port of relays that are only turned or prolonged, which need no interface; None: there are new."""
        kept = self._kept.get(name)
        if kept is None or kept.config_id != wanted.config_id:
            return None
        return kept.listen_port if all(peer.public_key in kept.peers for peer in wanted.peers) else None

    async def add(self, name: InterfaceName, listen_port: int, wanted: RelayRequest) -> RelayStatus:
        """Relay more peers; `FieldError`, `OSError` (not stored, so not done) or `KernelError`."""
        check(wanted)
        async with self._lock:
            before = self._kept.get(name)
            peers = {} if before is None or before.config_id != wanted.config_id else dict(before.peers)
            if len(peers.keys() | {peer.public_key for peer in wanted.peers}) > MAX_RELAYED:
                raise FieldError("peers", f"more than {MAX_RELAYED} peers would be relayed here; end some first")
            used = {each.port for kept in self._kept.values() for each in kept.peers.values()}
            free = (port for port in PORTS if port not in used)
            over_at = self._clock.uptime() + wanted.for_s
            for peer in wanted.peers:
                old = peers.get(peer.public_key)
                port = next(free, None) if old is None else old.port
                if port is None:
                    raise FieldError("peers", f"all {len(PORTS)} ports for relays are in use here; end some first")
                since = self._clock.wall() if old is None else old.since
                endpoint, target = parse_endpoint(peer.endpoint, "endpoint"), parse_endpoint(peer.target, "target")
                peers[peer.public_key] = KeptRelay(endpoint, target, port, since, over_at)
            await self._change(name, KeptRelays(wanted.config_id, listen_port, peers))
        return self.status(name)

    async def end(self, name: InterfaceName, peers: Collection[PublicKey] | None) -> RelayStatus:
        """Relay some, or all (None), no more. Errors as `add`."""
        async with self._lock:
            kept = self._kept.get(name)
            if kept is not None:
                left = {} if peers is None else {key: each for key, each in kept.peers.items() if key not in peers}
                await self._change(name, KeptRelays(kept.config_id, kept.listen_port, left))
        return self.status(name)

    async def prolong(self, name: InterfaceName, wanted: RelayProlongation) -> RelayStatus:
        """Relay those peers that are relayed for longer, or less long. Errors as `add`."""
        check_time(wanted.for_s)
        async with self._lock:
            kept = self._kept.get(name)
            if kept is not None:
                over_at, some = self._clock.uptime() + wanted.for_s, set(wanted.peers)
                peers = {key: replace(e, over_at=over_at) if key in some else e for key, e in kept.peers.items()}
                await self._change(name, replace(kept, peers=peers))
        return self.status(name)

    async def run(self) -> None:
        """Take up what is on disk, then end what is over and restore what somebody removed, until cancelled."""
        self._kept = self._files.load()
        async with self._lock:
            try:
                await relay_table.remove_others(self._kept)
            except (KernelError, OSError) as error:
                _log.error("relay.removal_failed", reason=str(error))
        while True:
            for name in tuple(self._kept):
                async with self._lock:
                    try:
                        await self._look(name)
                        self._failing.pop(name, None)
                    except (KernelError, OSError, FieldError) as error:
                        if self._failing.get(name) != str(error):
                            _log.error("relay.failed", interface=name, reason=str(error))
                        self._failing[name] = str(error)
            await asyncio.sleep(LOOK_S)

    async def _look(self, name: InterfaceName) -> None:
        kept, now = self._kept.get(name), self._clock.uptime()
        if kept is None:
            return
        left = {key: each for key, each in kept.peers.items() if each.over_at > now}
        if len(left) < len(kept.peers):
            _log.info("relay.over", interface=name, peers=len(kept.peers) - len(left))
            await self._change(name, KeptRelays(kept.config_id, kept.listen_port, left))
            return
        if not self._is_applied(name, kept) or not await relay_table.exists(name):
            await self._apply(name, kept)
        if now - self._written_at.get(name, 0.0) >= _WRITE_S:
            self._write(name, kept)

    def _is_applied(self, name: InterfaceName, kept: KeptRelays) -> bool:
        """Whether the kernel was given what is to be; the addresses of this machine may be others since."""
        applied = self._applied.get(name)
        if applied is None or applied.alone is self._serves(kept.listen_port):
            return False
        if time.monotonic() - applied.at < _ADDRESSES_S:
            return True
        self._applied[name] = replace(applied, at=time.monotonic())
        return applied.flows == _flows(kept)

    async def _change(self, name: InterfaceName, kept: KeptRelays) -> None:
        if kept.peers:
            self._write(name, kept)
            self._kept[name] = kept
            await self._apply(name, kept)
        else:
            await self._apply(name, kept)  # first: as long as the kernel relays, there is a file that says so
            self._files.remove(name)
            self._kept.pop(name, None)
            self._applied.pop(name, None)
            self._written_at.pop(name, None)

    def _write(self, name: InterfaceName, kept: KeptRelays) -> None:
        self._files.write(name, kept)
        self._written_at[name] = self._clock.uptime()

    async def _apply(self, name: InterfaceName, kept: KeptRelays) -> None:
        self._applied.pop(name, None)
        flows, alone = _flows(kept), not self._serves(kept.listen_port)
        if flows:
            await forwarding.turn_on({6 if ":" in flow.address else 4 for flow in flows})
        await relay_table.apply(name, kept.listen_port, flows, alone=alone)
        self._applied[name] = InKernel(flows, alone, time.monotonic())


def _flows(kept: KeptRelays) -> tuple[RelayedFlow, ...]:
    """Return what the kernel is to do; a client to whom there is no way now is left out."""
    found = (
        RelayedFlow(each.endpoint, each.target, own, each.port)
        for each in kept.peers.values()
        if (own := _own_address(each.endpoint)) is not None
    )
    return tuple({flow.client: flow for flow in found}.values())  # an endpoint that two had is the later one's


def _own_address(endpoint: str) -> str | None:
    """Return the address of this machine that packets to an endpoint leave from; None where there is no way to it."""
    address, port = split_endpoint(endpoint)
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect((address, port))
            return str(asking.getsockname()[0])
    except OSError:  # no route, or no IPv6 at all
        return None


def check(wanted: RelayRequest) -> None:
    """Raise `FieldError` for the first wrong field."""
    check_time(wanted.for_s)
    if not nft_tables.available():
        raise KernelError("relays need nftables, and this machine has no nft; install nftables")
    for i, peer in enumerate(wanted.peers):
        parse_public_key(peer.public_key, f"peers[{i}].public_key")
        here, there = (
            parse_endpoint(text, f"peers[{i}].{field}")
            for field, text in (("endpoint", peer.endpoint), ("target", peer.target))
        )
        if here.startswith("[") is not there.startswith("["):
            raise FieldError(f"peers[{i}].target", f"{there} and the endpoint {here} are not of the same IP version")


def check_time(for_s: float) -> None:
    """Raise `FieldError` for a time that nobody is relayed for."""
    if not 0 < for_s <= MAX_RELAY_S:
        raise FieldError("for_s", f"must be above 0 and at most {MAX_RELAY_S:.0f} s, not {for_s}")

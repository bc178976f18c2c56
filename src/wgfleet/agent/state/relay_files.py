"""Relays on disk, a file for each interface: they outlive the interface, the agent and a reboot.

What a relay has left is counted by a clock that nobody sets. Only the time that the machine was off is taken from its
wall clock, and that never gives more than was left when the file was written.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, make_directory, read_file, write_atomic
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.relay import MAX_RELAY_S, Relayed

_SUFFIX = ".json"


class BootClock:
    """The clocks of this machine: `uptime` goes on evenly within a boot, also while it sleeps; `wall` may be set."""

    def __init__(self, boot: str) -> None:
        self.boot = boot

    def uptime(self) -> float:
        """Return s since the boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        """Return s since the epoch, as far as this machine knows."""
        return time.time()


@dataclass(frozen=True, slots=True)
class KeptRelay:
    """A relay as in `Relayed`; `over_at` is by `BootClock.uptime`."""

    endpoint: str
    target: str
    port: int
    since: float
    over_at: float

    def shown(self, clock: BootClock) -> Relayed:
        """Return it as it is said to others now."""
        left_s = self.over_at - clock.uptime()
        return Relayed(self.endpoint, self.target, self.port, clock.wall() + left_s, self.since, left_s)


@dataclass(frozen=True, slots=True)
class KeptRelays:
    """The relays of an interface, by public key; `listen_port`: where its clients send to."""

    config_id: ConfigId
    listen_port: int
    peers: dict[PublicKey, KeptRelay]


class _Written(Struct, frozen=True):
    """A file; `left_s` of the peers is as it was at `uptime` of a boot, when the wall clock said `at`."""

    config_id: ConfigId
    listen_port: int
    peers: dict[PublicKey, Relayed]
    boot: str
    uptime: float
    at: float


class RelayFiles:
    """The files in a directory of their own."""

    def __init__(self, directory: Path, damaged: DamagedFiles, clock: BootClock) -> None:
        self.clock = clock
        self._directory = directory
        self._damaged = damaged

    def load(self) -> dict[InterfaceName, KeptRelays]:
        """Read all; what cannot be used is set aside."""
        found: dict[InterfaceName, KeptRelays] = {}
        if not self._directory.is_dir():
            return found
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            try:
                name = InterfaceName(path.name.removesuffix(_SUFFIX))
                found[name] = self._taken_up(msgspec.json.decode(read_file(path), type=_Written))
            except FileNotFoundError:
                continue
            except (DamagedFileError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                self._damaged.set_aside(path, error, way_out="its clients are relayed no more")
        return found

    def write(self, name: InterfaceName, relays: KeptRelays) -> None:
        """Keep the relays of an interface; raise OSError if that failed."""
        make_directory(self._directory, self._damaged)
        clock = self.clock
        peers = {key: each.shown(clock) for key, each in relays.peers.items()}
        written = _Written(relays.config_id, relays.listen_port, peers, clock.boot, clock.uptime(), clock.wall())
        write_atomic(self._directory / f"{name}{_SUFFIX}", msgspec.json.encode(written), self._damaged)

    def remove(self, name: InterfaceName) -> None:
        """Keep none; raise OSError if that failed."""
        (self._directory / f"{name}{_SUFFIX}").unlink(missing_ok=True)

    def _taken_up(self, written: _Written) -> KeptRelays:
        """Return what has been written, with what is left of it now."""
        now = self.clock.uptime()
        same_boot = written.boot == self.clock.boot
        passed_s = now - written.uptime if same_boot else max(0.0, self.clock.wall() - written.at)
        peers = {
            key: KeptRelay(each.endpoint, each.target, each.port, each.since, now + _bounded(each.left_s) - passed_s)
            for key, each in written.peers.items()
        }
        return KeptRelays(written.config_id, written.listen_port, peers)


def _bounded(left_s: float) -> float:
    return min(MAX_RELAY_S, left_s)

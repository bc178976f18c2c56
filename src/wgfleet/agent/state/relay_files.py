"""Relays on disk, a file for each interface: they outlive the interface, the agent and a reboot."""

from pathlib import Path

import msgspec
from msgspec import Struct

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, make_directory, read_file, write_atomic
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.relay import Relayed

_SUFFIX = ".json"


class KeptRelays(Struct, frozen=True):
    """The relays of an interface, by public key; `listen_port`: where its clients send to."""

    config_id: ConfigId
    listen_port: int
    peers: dict[PublicKey, Relayed]


class RelayFiles:
    """The files in a directory of their own."""

    def __init__(self, directory: Path, damaged: DamagedFiles) -> None:
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
                found[name] = msgspec.json.decode(read_file(path), type=KeptRelays)
            except FileNotFoundError:
                continue
            except (DamagedFileError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                self._damaged.set_aside(path, error, way_out="its clients are relayed no more")
        return found

    def write(self, name: InterfaceName, relays: KeptRelays) -> None:
        """Keep the relays of an interface; raise OSError if that failed."""
        make_directory(self._directory, self._damaged)
        write_atomic(self._directory / f"{name}{_SUFFIX}", msgspec.json.encode(relays), self._damaged)

    def remove(self, name: InterfaceName) -> None:
        """Keep none; raise OSError if that failed."""
        (self._directory / f"{name}{_SUFFIX}").unlink(missing_ok=True)

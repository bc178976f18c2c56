"""The settings of an interface with which the panel was last heard, on disk while other ones are on trial.

After a power cut the machine begins with these, since nobody knows whether the new ones leave the panel reachable.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, sync_directory, write_atomic
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.reach import Reach

_SUFFIX = ".confirmed"


class ConfirmedSettings(Struct, frozen=True):
    """The settings of an interface that can cut its machine off from the panel."""

    addresses: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    masquerade: bool = False
    reach: Reach | None = None

    @classmethod
    def of(cls, settings: InterfaceSettings) -> "ConfirmedSettings":
        """Take them from all settings."""
        return cls(settings.addresses, settings.routes, settings.masquerade, settings.reach)

    def put_into(self, settings: InterfaceSettings) -> InterfaceSettings:
        """Return settings with these instead of their own."""
        return msgspec.structs.replace(
            settings, addresses=self.addresses, routes=self.routes, masquerade=self.masquerade, reach=self.reach
        )


class ConfirmedFiles:
    """The files of all interfaces whose settings are on trial, or were taken back."""

    def __init__(self, directory: Path, damaged: DamagedFiles | None = None) -> None:
        self._directory = directory
        self._damaged = damaged or DamagedFiles()

    def read(self, name: InterfaceName) -> ConfirmedSettings | None:
        """Return what was confirmed last; None where nothing else is on trial."""
        path = self._path(name)
        try:
            return msgspec.json.decode(read_file(path), type=ConfirmedSettings)
        except FileNotFoundError:
            return None
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._damaged.set_aside(path, error, way_out="the newest settings are used")
            return None

    def write(self, name: InterfaceName, reach: ConfirmedSettings) -> None:
        """Keep it; raise OSError if that failed."""
        write_atomic(self._path(name), msgspec.json.encode(reach), self._damaged)

    def remove(self, name: InterfaceName) -> None:
        """Nothing is on trial any more; raise OSError if that cannot be written down."""
        path = self._path(name)
        if path.exists():
            path.unlink()
            sync_directory(self._directory)

    def _path(self, name: InterfaceName) -> Path:
        return self._directory / f"{name}{_SUFFIX}"

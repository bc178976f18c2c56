"""The record of which interfaces and floating addresses are ours, and which generations of removed ones are past.

Written before a link or an address is made and after it is gone. What is not in here is never touched.
"""

import threading
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, write_atomic
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName

_MAX_TOMBSTONES = 1000
_log = structlog.get_logger()


class Placed(Struct, frozen=True):
    """Where an address of ours is. `boot`: the kernel's id of the boot in which it was added and with which it ends."""

    link: str
    boot: str


class Owned(Struct, frozen=True, omit_defaults=True):
    """An interface of ours, and the floating addresses that the machine has for it.

    `deleting`: its removal has begun, and the next start finishes it. `boot`: the kernel's id of the boot that its
    link is of; a link of that name in a later boot is somebody else's until it is claimed again. Empty: unknown.
    """

    config_id: ConfigId
    deleting: bool = False
    boot: str = ""
    floating: dict[str, Placed] = {}


class Tombstone(Struct, frozen=True):
    """A config that left an interface: its generations up to this one are past."""

    name: InterfaceName
    config_id: ConfigId
    generation: Generation


class Entries(Struct, frozen=True):
    """Content of the file. One without `owned` is not ours."""

    owned: dict[InterfaceName, Owned]
    tombstones: tuple[Tombstone, ...] = ()


class Ledger:
    """The ledger on disk. Methods that change it return when the change is durable, or raise OSError unchanged.

    `note_placed` and `displace` do not touch the disk: what they change is durable after `save`, or the next change.
    """

    def __init__(self, path: Path, damaged: DamagedFiles | None = None) -> None:
        self._path = path
        self._damaged = damaged or DamagedFiles()
        self._entries = self._saved = Entries({})
        self._writing = threading.Lock()  # `save` may run in a thread
        self.lost = False  # it was damaged: an interface that is not in it may be ours all the same

    def load(self) -> None:
        """Read the file, if there is one; set it aside if it is damaged."""
        self._entries, self.lost = Entries({}), False
        self._saved = self._entries
        try:
            self._entries = self._saved = msgspec.json.decode(read_file(self._path), type=Entries)
        except FileNotFoundError:
            return
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self.lost = True
            self._damaged.set_aside(self._path, error, way_out="interfaces that have our own keys count as ours")

    def owned(self) -> dict[InterfaceName, Owned]:
        """Return every interface of ours."""
        return dict(self._entries.owned)

    def tombstone(self, name: InterfaceName, config_id: ConfigId) -> Generation | None:
        """Return the newest generation of the config that is past on this interface."""
        for stone in self._entries.tombstones:
            if (stone.name, stone.config_id) == (name, config_id):
                return stone.generation
        return None

    def add(self, name: InterfaceName, config_id: ConfigId, boot: str) -> None:
        """Claim an interface for the current boot."""
        held = self._entries.owned.get(name)
        owned = Owned(config_id, boot=boot, floating={} if held is None else held.floating)
        if held != owned:
            self._change(name, owned)

    def claim(self, name: InterfaceName, config_id: ConfigId, boot: str) -> None:
        """As `add`, also where the disk cannot be written: then it lasts until this process ends or writes again."""
        try:
            self.add(name, config_id, boot)
        except OSError as error:
            _log.error("ledger.not_written", interface=name, reason=error.strerror)
            held = self._entries.owned.get(name)
            owned = Owned(config_id, boot=boot, floating={} if held is None else held.floating)
            self._entries = Entries({**self._entries.owned, name: owned}, self._entries.tombstones)

    def place(self, name: InterfaceName, address: str, placed: Placed) -> None:
        """Note that an address is about to be added for an interface of ours."""
        if self._entries.owned[name].floating.get(address) != placed:
            self._write(self._with_placed(name, address, placed))

    def note_placed(self, name: InterfaceName, address: str, placed: Placed) -> None:
        """As `place`, of an address that the kernel has for a time only: it is gone before anybody looks for it."""
        if self._entries.owned[name].floating.get(address) != placed:
            self._entries = self._with_placed(name, address, placed)

    def displace(self, name: InterfaceName, address: str) -> None:
        """Note that an address is no longer on the machine for an interface. The file only says what may be ours."""
        owned = self._entries.owned.get(name)
        if owned is not None and address in owned.floating:
            left = {each: placed for each, placed in owned.floating.items() if each != address}
            self._entries = self._with(name, msgspec.structs.replace(owned, floating=left))

    @property
    def unsaved(self) -> bool:
        """Whether something is noted that is not durable."""
        return self._entries is not self._saved

    def save(self) -> None:
        """Make durable what is noted; OSError if that is not possible. May be called in a thread."""
        with self._writing:
            if (entries := self._entries) is not self._saved:
                write_atomic(self._path, msgspec.json.encode(entries), self._damaged)
                self._saved = entries

    def bury(self, name: InterfaceName, config_id: ConfigId, generation: Generation) -> None:
        """Note that a removal begins (if the interface is ours) and that generations up to this one are past."""
        owned = dict(self._entries.owned)
        if name in owned:
            owned[name] = msgspec.structs.replace(owned[name], deleting=True)
        kept = [s for s in self._entries.tombstones if (s.name, s.config_id) != (name, config_id)]
        newest = max(generation, self.tombstone(name, config_id) or generation)
        stones = (*kept, Tombstone(name, config_id, Generation(newest)))[-_MAX_TOMBSTONES:]
        self._write(Entries(owned, stones))

    def drop(self, name: InterfaceName) -> None:
        """Give up an interface whose link is gone."""
        owned = {n: o for n, o in self._entries.owned.items() if n != name}
        self._write(Entries(owned, self._entries.tombstones))

    def _change(self, name: InterfaceName, owned: Owned) -> None:
        self._write(self._with(name, owned))

    def _with(self, name: InterfaceName, owned: Owned) -> Entries:
        return Entries({**self._entries.owned, name: owned}, self._entries.tombstones)

    def _with_placed(self, name: InterfaceName, address: str, placed: Placed) -> Entries:
        owned = self._entries.owned[name]
        return self._with(name, msgspec.structs.replace(owned, floating={**owned.floating, address: placed}))

    def _write(self, entries: Entries) -> None:
        with self._writing:
            write_atomic(self._path, msgspec.json.encode(entries), self._damaged)
            self._entries = self._saved = entries

"""The adoptions that a person on the machine has asked for: links of other programs that the agent is to take over.

`wgfleet agent adopt` writes them, the agent reads them when its panel pushes an interface of that name.
"""

import time
from pathlib import Path

import msgspec
from msgspec import Struct

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, write_atomic
from wgfleet.protocol.ids import InterfaceName

LASTS_S = 3600.0  # long enough for a panel that is away; a link that is made later is not meant


class Adoption(Struct, frozen=True):
    """One that is asked for until `until`, in Unix time. `remove_others`: also if peers of the link lose access."""

    until: float
    remove_others: bool = False


class Adoptions:
    """The file. What is damaged, or too old, is as if nobody had asked."""

    def __init__(self, path: Path, damaged: DamagedFiles | None = None) -> None:
        self._path = path
        self._damaged = damaged or DamagedFiles()

    def ask(self, name: InterfaceName, *, remove_others: bool) -> None:
        """Ask for a link to be taken over; raise OSError if that cannot be written."""
        self._write({**self._read(), name: Adoption(time.time() + LASTS_S, remove_others)})

    def asked(self, name: InterfaceName) -> Adoption | None:
        """Return what was asked for a link."""
        return self._read().get(name)

    def done(self, name: InterfaceName) -> None:
        """Forget what was asked for a link; raise OSError if that cannot be written."""
        left = self._read()
        if left.pop(name, None) is not None:
            self._write(left)

    def _read(self) -> dict[InterfaceName, Adoption]:
        try:
            found = msgspec.json.decode(read_file(self._path), type=dict[InterfaceName, Adoption])
        except (FileNotFoundError, DamagedFileError, msgspec.MsgspecError, UnicodeError, RecursionError):
            return {}
        now = time.time()
        return {name: each for name, each in found.items() if now < each.until <= now + LASTS_S}

    def _write(self, asked: dict[InterfaceName, Adoption]) -> None:
        write_atomic(self._path, msgspec.json.encode(asked), self._damaged)

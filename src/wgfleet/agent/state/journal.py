"""Journal of the desired state on disk: per interface a base file, and the deltas since, one per line.

A delta of one peer costs one short write, not a rewrite of ten thousand. A line that a crash cut off is ignored,
and overwritten by the next. A method that returns has made its change durable; OSError means that nothing changed.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from wgfleet.agent.state import lenient
from wgfleet.agent.state.files import remove_temporaries, sync_directory, write_atomic
from wgfleet.protocol.desired import DesiredInterface, InterfaceDelta, apply_delta
from wgfleet.protocol.ids import InterfaceName

_BASE, _DELTAS = ".json", ".journal"
_COMPACT_FROM = 64 * 1024  # bytes of deltas, below which rewriting the base is not worth it
_encode = msgspec.json.Encoder().encode


@dataclass
class _Sizes:
    base: int
    deltas: int  # bytes of complete lines; what follows them is cut off


class Journal:
    """Desired interfaces in one directory. `notes`: what `load` had to skip, a sentence each."""

    def __init__(self, directory: Path) -> None:
        self.notes: list[str] = []
        self._directory = directory
        self._sizes: dict[InterfaceName, _Sizes] = {}

    def load(self) -> dict[InterfaceName, DesiredInterface]:
        """Read every interface. Raise ValueError naming the file if a base is unreadable: it was written atomically."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_temporaries(self._directory)
        found = {}
        for path in sorted(self._directory.glob(f"*{_BASE}")):
            raw = path.read_bytes()
            try:
                whole, unknown = lenient.read(raw, DesiredInterface)
            except msgspec.MsgspecError as error:
                raise ValueError(f"{path} is damaged ({error}); remove it and let the panel push again") from None
            name = whole.settings.name
            try:
                lines = self._path(name, _DELTAS).read_bytes()
            except FileNotFoundError:
                lines = b""
            whole, used, more = replay(whole, lines)
            if unknown or more:
                names = ", ".join(dict.fromkeys((*unknown, *more)))
                self.notes.append(f"{name}: a later release stored {names}, which this one does not know; left out")
            self._sizes[name] = _Sizes(len(raw), used)
            found[name] = whole
        return found

    def write(self, desired: DesiredInterface) -> None:
        """Store a whole desired state."""
        name, raw = desired.settings.name, _encode(desired)
        write_atomic(self._path(name, _BASE), raw)
        # Deltas that a crash leaves at this point are of this generation or older, and `replay` skips them.
        self._path(name, _DELTAS).unlink(missing_ok=True)
        self._sizes[name] = _Sizes(len(raw), 0)

    def append(self, delta: InterfaceDelta, result: DesiredInterface) -> None:
        """Store a delta that leads to `result`; when there are many, write that as the new base."""
        sizes = self._sizes[delta.name]
        line = _encode(delta) + b"\n"
        if sizes.deltas + len(line) > max(sizes.base, _COMPACT_FROM):
            self.write(result)
            return
        path = self._path(delta.name, _DELTAS)
        fresh = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(handle, sizes.deltas)
            written = os.pwrite(handle, line, sizes.deltas)
            if written != len(line):  # a full disk writes what fits
                os.ftruncate(handle, sizes.deltas)
                raise OSError(28, os.strerror(28), str(path))
            os.fsync(handle)
        finally:
            os.close(handle)
        if fresh:
            sync_directory(self._directory)
        sizes.deltas += len(line)

    def remove(self, name: InterfaceName) -> None:
        """Forget an interface; absent files are no error."""
        self._path(name, _DELTAS).unlink(missing_ok=True)
        self._path(name, _BASE).unlink(missing_ok=True)
        sync_directory(self._directory)
        self._sizes.pop(name, None)

    def _path(self, name: InterfaceName, suffix: str) -> Path:
        return self._directory / f"{name}{suffix}"


def replay(whole: DesiredInterface, lines: bytes) -> tuple[DesiredInterface, int, tuple[str, ...]]:
    """Apply the deltas in `lines` to `whole`.

    Return the result, the number of bytes in complete, usable lines, and the fields that this release does not know.
    Deltas that `whole` already holds are skipped; the first that is cut off or does not follow ends the replay.
    """
    used = 0
    unknown: dict[str, None] = {}
    for line in lines.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            delta, skipped = lenient.read(line, InterfaceDelta)
        except msgspec.MsgspecError:
            break
        if delta.config_id == whole.settings.config_id and delta.base == whole.generation:
            whole = apply_delta(whole, delta)
            unknown.update(dict.fromkeys(skipped))
        elif delta.generation > whole.generation:
            break
        used += len(line)
    return whole, used, tuple(unknown)

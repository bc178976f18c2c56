"""Journal of the desired state on disk: per interface a base file, and the deltas since, one per line.

A delta of one peer costs one short write, not a rewrite of ten thousand. A line that a crash cut off is ignored,
and overwritten by the next. A method that returns has made its change durable; OSError means that nothing changed.
A file that is damaged is set aside, and its interface is left out: the panel sends it again, whole.
Both files are in the form of 0.1.0; what that does not know is in a third (`extension`), written before them: a line
for each state, of which the last two matter. So a delta costs two waits for the disk.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from wgfleet.agent.state import lenient
from wgfleet.agent.state.extension import encode, extended, extension
from wgfleet.agent.state.files import (
    DamagedFileError,
    DamagedFiles,
    make_directory,
    make_room,
    read_file,
    remove_temporaries,
    sync_directory,
    write_at,
    write_atomic,
)
from wgfleet.protocol import features
from wgfleet.protocol.desired import (
    DesiredInterface,
    InterfaceDelta,
    apply_delta,
    check_allowed_ips,
    check_peer,
    check_settings,
)
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import InterfaceName

_BASE, _DELTAS, _EXTENSION = ".json", ".journal", ".extension"
_COMPACT_FROM = 64 * 1024  # bytes of deltas, below which rewriting the base is not worth it; of lines beside them, too
_STATES = 8  # of which there may be lines beside them, where these are long
_encode = msgspec.json.Encoder().encode
_WAY_OUT = "the panel sends that interface again"
_log = structlog.get_logger()


@dataclass
class _Sizes:
    base: int
    deltas: int  # bytes of complete lines; what follows them is cut off
    extension: bytes = b""  # the line of what is stored
    extensions: int = 0  # bytes of complete lines
    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)  # of the base and the deltas that follow from it


class Replay(NamedTuple):
    """The result of a replay. `used`: bytes in complete, usable lines; `applied`: the lines that followed."""

    whole: DesiredInterface
    used: int
    applied: bytes
    unknown: tuple[str, ...]


class Journal:
    """Desired interfaces in one directory. `notes`: what `load` had to skip, a sentence each."""

    def __init__(self, directory: Path, damaged: DamagedFiles | None = None) -> None:
        self.notes: list[str] = []
        self._directory = directory
        self._damaged = damaged or DamagedFiles()
        self._sizes: dict[InterfaceName, _Sizes] = {}

    def load(self) -> dict[InterfaceName, DesiredInterface]:
        """Read every interface; what is damaged is set aside."""
        make_directory(self._directory, self._damaged)
        remove_temporaries(self._directory, self._damaged)
        found = {}
        for path in sorted(self._directory.glob(f"*{_BASE}")):
            name = InterfaceName(path.name.removesuffix(_BASE))
            try:
                raw = read_file(path)
                whole, unknown = _base(name, raw)
            except FileNotFoundError:
                continue
            except DamagedFileError as error:
                self._damaged.set_aside(path, error, way_out=_WAY_OUT)
                if os.path.lexists(deltas := self._path(name, _DELTAS)):  # of no use without their base
                    self._damaged.set_aside(deltas, f"{path.name} is", way_out=_WAY_OUT)
                continue
            found[name] = self._replay(whole, raw, unknown)
        return found

    def _replay(self, whole: DesiredInterface, raw: bytes, unknown: tuple[str, ...]) -> DesiredInterface:
        """Apply the deltas of an interface, up to the first that cannot be read. `unknown`: fields of its base."""
        name = whole.settings.name
        path = self._path(name, _DELTAS)
        try:
            lines = read_file(path)
        except FileNotFoundError:
            lines = b""
        except DamagedFileError as error:
            self._damaged.set_aside(path, error, way_out=_WAY_OUT + " from there")
            lines = b""
        done = replay(whole, lines)
        if unknown or done.unknown:
            names = ", ".join(dict.fromkeys((*unknown, *done.unknown)))
            self.notes.append(f"{name}: a later release stored {names}, which this one does not know; left out")
        whole = self._complete(done, raw)
        if (left := len(lines) - done.used) == 0:
            return whole
        if b"\n" not in lines[done.used :]:  # what a crash leaves of the last write, which nobody heard had succeeded
            _log.warning("journal.torn", path=str(path), bytes=left, generation=whole.generation)
            return whole
        try:
            self._write_base(whole)
        except OSError as error:  # the next delta overwrites what is damaged
            self._damaged.note(
                f"{path} is damaged from byte {done.used} on, and stays, since the disk cannot be written "
                f"({error.strerror}); {name} goes on from generation {whole.generation}"
            )
            return whole
        self._damaged.set_aside(
            path, f"from byte {done.used} on", way_out=f"{name} goes on from generation {whole.generation}"
        )
        return whole

    def _complete(self, done: Replay, raw: bytes) -> DesiredInterface:
        """Add what 0.1.0 does not know to what was read."""
        name = done.whole.settings.name
        digest = hashlib.sha256(raw)
        digest.update(done.applied)
        path = self._path(name, _EXTENSION)
        try:
            rest = read_file(path)
        except FileNotFoundError:
            rest = b""
        except DamagedFileError as error:
            self._damaged.set_aside(path, error, way_out=_WAY_OUT)
            rest = b""
        whole, line = extended(done.whole, digest.hexdigest(), rest)
        self._sizes[name] = _Sizes(len(raw), done.used, line, rest.rfind(b"\n") + 1, digest)
        return whole

    def write(self, desired: DesiredInterface) -> None:
        """Store a whole desired state."""
        self._make_room(desired.settings.name)
        self._write_base(desired)
        # Deltas that a crash leaves at this point are of this generation or older, and `replay` skips them.
        self._path(desired.settings.name, _DELTAS).unlink(missing_ok=True)

    def _write_base(self, desired: DesiredInterface) -> None:
        name, raw = desired.settings.name, _encode(features.for_agent(desired, features.NONE))
        digest = hashlib.sha256(raw)
        line = encode(extension(digest.hexdigest(), desired))
        upto = self._announce(name, line)
        write_atomic(self._path(name, _BASE), raw, self._damaged)
        self._sizes[name] = _Sizes(len(raw), 0, line, upto, digest)

    def _announce(self, name: InterfaceName, line: bytes) -> int:
        """Store what 0.1.0 does not know of a state that is written next; the one that is there keeps its own.

        Return how long the file is.
        """
        sizes = self._sizes.get(name) or _Sizes(0, 0)
        path, upto = self._path(name, _EXTENSION), sizes.extensions
        if upto and upto + len(line) <= max(_COMPACT_FROM, _STATES * len(line)):
            with contextlib.suppress(FileNotFoundError), _opened(path, os.O_WRONLY) as handle:
                if os.fstat(handle).st_size >= upto:
                    write_at(handle, upto, line)
                    return upto + len(line)
        write_atomic(path, sizes.extension + line, self._damaged)
        return len(sizes.extension) + len(line)

    def append(self, delta: InterfaceDelta, result: DesiredInterface) -> None:
        """Store a delta that leads to `result`; when there are many, write that as the new base."""
        self._make_room(delta.name)
        sizes = self._sizes[delta.name]
        line = _encode(features.for_agent(delta, features.NONE)) + b"\n"
        if sizes.deltas + len(line) > max(sizes.base, _COMPACT_FROM):
            self.write(result)
            return
        digest = sizes.hash.copy()
        digest.update(line)
        rest = encode(extension(digest.hexdigest(), result))
        upto = self._announce(delta.name, rest)
        path = self._path(delta.name, _DELTAS)
        fresh = not path.exists()
        with _opened(path, os.O_WRONLY | os.O_CREAT) as handle:
            write_at(handle, sizes.deltas, line)
        if fresh:
            sync_directory(self._directory)
        sizes.deltas += len(line)
        sizes.extension, sizes.extensions, sizes.hash = rest, upto, digest

    def remove(self, name: InterfaceName) -> None:
        """Forget an interface; absent files are no error."""
        self._make_room(name)
        self._path(name, _DELTAS).unlink(missing_ok=True)
        self._path(name, _BASE).unlink(missing_ok=True)
        self._path(name, _EXTENSION).unlink(missing_ok=True)
        sync_directory(self._directory)
        self._sizes.pop(name, None)

    def _make_room(self, name: InterfaceName) -> None:
        if not self._directory.is_dir():
            make_directory(self._directory, self._damaged)
        for suffix in (_BASE, _DELTAS, _EXTENSION):
            make_room(self._path(name, suffix), self._damaged)

    def _path(self, name: InterfaceName, suffix: str) -> Path:
        return self._directory / f"{name}{suffix}"


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def look(directory: Path, notes: list[str]) -> dict[InterfaceName, DesiredInterface]:
    """Read every interface as far as it can be, and change nothing; `notes` gets a sentence about what cannot be."""
    found = {}
    for path in sorted(directory.glob(f"*{_BASE}")):
        name = InterfaceName(path.name.removesuffix(_BASE))
        try:
            whole, _ = _base(name, read_file(path))
            deltas = path.with_name(f"{name}{_DELTAS}")
            found[name] = replay(whole, read_file(deltas) if deltas.exists() else b"").whole
        except (DamagedFileError, OSError) as error:
            notes.append(f"{path} cannot be read ({error})")
    return found


def _base(name: InterfaceName, raw: bytes) -> tuple[DesiredInterface, tuple[str, ...]]:
    """Decode a base as `lenient.read` does.

    Raises `DamagedFileError` unless its values are well formed, since all else relies on that.
    """
    try:
        whole, unknown = lenient.read(raw, DesiredInterface)
        if whole.settings.name != name:
            raise DamagedFileError(f"it is of interface {whole.settings.name}")
        check_settings(whole.settings)
        for key, peer in whole.peers.items():
            check_peer(key, peer, f"peers.{key}")
        check_allowed_ips(whole.peers)
    except (msgspec.MsgspecError, FieldError, UnicodeError, RecursionError) as error:
        raise DamagedFileError(error) from None
    return whole, unknown


def replay(whole: DesiredInterface, lines: bytes) -> Replay:
    """Apply the deltas in `lines` to `whole`.

    Deltas that `whole` already holds are skipped; the first that is cut off or does not follow ends the replay.
    """
    used = 0
    applied: list[bytes] = []
    unknown: dict[str, None] = {}
    for line in lines.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            delta, skipped = lenient.read(line, InterfaceDelta)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            break
        if delta.config_id == whole.settings.config_id and delta.base == whole.generation:
            whole = apply_delta(whole, delta)
            applied.append(line)
            unknown.update(dict.fromkeys(skipped))
        elif delta.generation > whole.generation:
            break
        used += len(line)
    return Replay(whole, used, b"".join(applied), tuple(unknown))

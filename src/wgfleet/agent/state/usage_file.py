"""The usage that this machine has counted, on disk: written whole, now and then, and at the end of the agent.

Counters in the kernel outlive an agent that is killed, and what they show beyond the file is counted by the next one.
So only what ends together with a counter, and since the last writing, is lost: at most `EVERY_S` of traffic.
"""

import time
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, write_atomic
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey

EVERY_S = 30.0
_SHARE = 0.01  # of the time that writing may take
_log = structlog.get_logger()


class UsageMark(Struct, frozen=True, array_like=True, gc=False):
    """The totals of a peer at a moment (s since the epoch): the last of its hour."""

    at: int
    received: int
    sent: int


class PeerUsage(Struct, array_like=True):
    """The counter of a peer, named `life`: its totals, and what of them the panel has not acknowledged, an hour each.

    `seen`: WireGuard's own counters at the last reading; None: they begin at 0, or the peer is not on the link.
    """

    life: int
    received: int = 0
    sent: int = 0
    seen: tuple[int, int] | None = None
    marks: list[UsageMark] = []


class ConfigUsage(Struct):
    """The counters of a config's peers. `link`: whose counters were read last (boot, namespace, index); "": none's."""

    link: str = ""
    peers: dict[PublicKey, PeerUsage] = {}


class UsageState(Struct):
    """Content of the file. `reserved`: numbers of batches up to this one may have been used in this `epoch`."""

    epoch: str
    reserved: int
    configs: dict[ConfigId, ConfigUsage]


class UsageFile:
    """The file. A disk that cannot be written is done without: totals are in memory, and reach the panel."""

    def __init__(self, path: Path, damaged: DamagedFiles) -> None:
        self._path = path
        self._damaged = damaged
        self._due = 0.0
        self._failing = False

    def load(self) -> UsageState | None:
        """Read it; None if there is none, or it is damaged and was set aside."""
        try:
            return msgspec.json.decode(read_file(self._path), type=UsageState)
        except FileNotFoundError:
            return None
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._damaged.set_aside(self._path, error, way_out="usage is counted on from now, without what it had")
            return None

    def is_due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() >= self._due

    def write(self, content: bytes) -> bool:
        """Write an encoded state; False where the disk refuses."""
        begun = time.monotonic()
        try:
            write_atomic(self._path, content, self._damaged)
        except OSError as error:
            if not self._failing:
                _log.error("usage.not_written", reason=error.strerror)
            self._failing = True
        else:
            self._failing = False
        now = time.monotonic()
        self._due = now + max(EVERY_S, (now - begun) / _SHARE)
        return not self._failing

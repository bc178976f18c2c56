"""The sources that the panel called from last, kept on disk: a restarted agent keeps room at its door for them at once.

A source is an IPv4 address, or the /64 of an IPv6 address (`doors.strangers.source_of`).
"""

from pathlib import Path

import msgspec
import structlog

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, write_atomic

_MOST = 4  # a panel that moves, or has IPv4 and IPv6, or comes from behind several addresses
_log = structlog.get_logger()


class PanelSources:
    """The file of the sources of connections that showed the panel's certificate, the latest last."""

    def __init__(self, path: Path, damaged: DamagedFiles) -> None:
        self._path = path
        self._damaged = damaged
        self._known: tuple[str, ...] = ()

    def __contains__(self, source: str) -> bool:
        return source in self._known

    def load(self) -> None:
        """Read the file; one that is damaged is set aside, and the panel is a stranger until it calls."""
        try:
            found = msgspec.json.decode(read_file(self._path), type=list[str])
        except FileNotFoundError:
            found = []
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError) as error:
            self._damaged.set_aside(self._path, error, way_out="the panel's address is learned when it calls")
            return
        self._known = tuple(found[-_MOST:])

    def note(self, source: str) -> None:
        """Remember a source. The file is written where that is new: once, for a panel that stays where it is."""
        is_new = source not in self._known
        self._known = (*(each for each in self._known if each != source), source)[-_MOST:]
        if not is_new:
            return
        try:
            write_atomic(self._path, msgspec.json.encode(self._known), self._damaged)
        except OSError as error:  # a full disk must not keep the panel out
            _log.error("panel.source_not_remembered", source=source, reason=str(error))

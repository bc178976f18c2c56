"""Certificates of panels that this agent refuses, kept on disk. The list only grows: nobody can take one back."""

import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, write_atomic

MAX_KEPT = 8192  # twice what a panel tells of
_log = structlog.get_logger()


class RevokedCertificates:
    """The file of revoked certificates: when each was revoked (s since the epoch), by its serial number in hex."""

    def __init__(self, path: Path, damaged: DamagedFiles) -> None:
        self._path = path
        self._damaged = damaged
        self._at: dict[str, float] = {}
        self._stored = True

    def load(self) -> None:
        """Read the file; one that is damaged is set aside."""
        try:
            self._at = msgspec.json.decode(read_file(self._path), type=dict[str, float])
        except FileNotFoundError:
            self._at = {}
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError) as error:
            way_out = "revoked certificates of panels are accepted until the panel is connected, and tells them again"
            self._damaged.set_aside(self._path, error, way_out=way_out)

    def objection(self, serial: str) -> str | None:
        """Return why the certificate with this serial number is refused; None: it was not revoked."""
        at = self._at.get(serial)
        return None if at is None else f"certificate {serial} of the panel, revoked {_date(at)}"

    def lacks(self, serials: Mapping[str, float]) -> bool:
        """Tell whether there is anything in a list that is not stored yet."""
        return not self._stored or any(serial not in self._at for serial in serials)

    def add(self, serials: Mapping[str, float]) -> None:
        """Refuse these from now on, and store it; OSError: it holds until the agent ends, and `lacks` says so.

        What was known before stays, as far as there is room.
        """
        told = dict(list(serials.items())[:MAX_KEPT])
        before = [(serial, at) for serial, at in self._at.items() if serial not in told]
        newest = sorted(before, key=lambda item: item[1], reverse=True)[: MAX_KEPT - len(told)]
        added = len(told.keys() - self._at.keys())
        self._at = {**told, **dict(newest)}
        self._stored = False
        write_atomic(self._path, msgspec.json.encode(self._at), self._damaged)
        self._stored = True
        _log.info("certificates.revoked", added=added, known=len(self._at))


def _date(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"

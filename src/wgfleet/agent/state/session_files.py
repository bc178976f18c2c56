"""The sessions of interfaces that are in use, kept beyond this process, in case it ends together with WireGuard.

In memory (/run), as sessions do not outlive a boot either; without syncing, and as rarely as its size asks for.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from wgfleet.agent.state.files import DamagedFileError, read_file
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey

DIRECTORY = Path("/run/wireguard")  # which the unit gives the agent for wireguard-go, and keeps
EVERY_S = 1.0
_SHARE = 0.01  # of a core that writing may use
_log = structlog.get_logger()


class LiveSession(Struct, frozen=True, array_like=True, gc=False):
    """Where a peer was heard last, and when, in s of the monotonic clock."""

    endpoint: str
    received: int
    handshake: int
    heard_at: float


class _File(Struct, frozen=True):
    """`machine`: the boot and the network namespace in which the interface is."""

    machine: str
    config_id: ConfigId
    sessions: dict[PublicKey, LiveSession]


def this_machine(boot: str) -> str:
    """Return in which boot and network namespace this is: links of one name elsewhere are others."""
    return f"{boot}/{Path('/proc/self/ns/net').stat().st_ino}"


class SessionFiles:
    """The files of all interfaces; `boot` as the ledger has it. What cannot be read or written is done without."""

    def __init__(self, boot: str, directory: Path = DIRECTORY) -> None:
        self._machine = this_machine(boot)
        self._directory = directory
        self._due: dict[InterfaceName, float] = {}
        self._failing = False

    def read(self, name: InterfaceName, config_id: ConfigId) -> dict[PublicKey, LiveSession]:
        """Return what the last run of the agent knew of this config's sessions."""
        try:
            found = msgspec.json.decode(read_file(self._path(name)), type=_File)
        except FileNotFoundError:
            return {}
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            _log.warning("sessions.not_read", interface=name, reason=str(error))
            return {}
        return found.sessions if (found.machine, found.config_id) == (self._machine, config_id) else {}

    def is_due(self, name: InterfaceName) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() >= self._due.get(name, 0.0)

    def write(self, name: InterfaceName, config_id: ConfigId, sessions: Mapping[PublicKey, LiveSession]) -> None:
        """Keep these."""
        begun = time.monotonic()
        path = self._path(name)
        temporary = path.with_suffix(".tmp")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(_File(self._machine, config_id, dict(sessions))))
            temporary.replace(path)
            self._failing = False
        except OSError as error:
            if not self._failing:
                _log.warning("sessions.not_kept", interface=name, reason=str(error))
            self._failing = True
        now = time.monotonic()
        self._due[name] = now + max(EVERY_S, (now - begun) / _SHARE)

    def remove(self, name: InterfaceName) -> None:
        """Nothing is to be known of it any more."""
        with contextlib.suppress(OSError):  # what is left there is of another config, or old
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: InterfaceName) -> Path:
        return self._directory / f"{name}.wgfleet-sessions"

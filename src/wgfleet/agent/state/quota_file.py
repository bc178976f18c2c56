"""Quotas on disk, as the panel said them: an agent that starts without it lets nobody through beyond them."""

from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, write_atomic
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.quota import Quota

_log = structlog.get_logger()
KeptQuotas = dict[ConfigId, dict[PublicKey, Quota]]


class _Content(Struct, frozen=True):
    configs: dict[ConfigId, tuple[Quota, ...]]


class QuotaFile:
    """The file. A disk that cannot be written is done without: the kernel has the quotas as well."""

    def __init__(self, path: Path, damaged: DamagedFiles) -> None:
        self._path = path
        self._damaged = damaged

    def load(self) -> KeptQuotas:
        """Read it; nothing if there is none, or it is damaged and was set aside."""
        try:
            content = msgspec.json.decode(read_file(self._path), type=_Content)
        except FileNotFoundError:
            return {}
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._damaged.set_aside(self._path, error, way_out="the panel says again what peers may use")
            return {}
        return {config_id: {each.public_key: each for each in rows} for config_id, rows in content.configs.items()}

    def write(self, quotas: KeptQuotas) -> None:
        """Write them."""
        content = _Content({config_id: tuple(rows.values()) for config_id, rows in quotas.items()})
        try:
            write_atomic(self._path, msgspec.json.encode(content), self._damaged)
        except OSError as error:
            _log.error("quotas.not_written", reason=error.strerror)

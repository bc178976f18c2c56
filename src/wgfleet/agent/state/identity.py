"""The identity of this agent: its id, where it listens, its key and certificates, in the state directory."""

import contextlib
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from wgfleet.agent.state.files import (
    DamagedFileError,
    DamagedFiles,
    make_directory,
    read_file,
    remove_temporaries,
    sync_directory,
    write_atomic,
)
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import AGENT_PORT

DEFAULT_STATE_DIR = Path("/var/lib/wgfleet-agent")
_NEW = ".new"
_log = structlog.get_logger()


class AgentFile(Struct, frozen=True):
    """Content of `agent.json`. `witness`: it enrolled as one."""

    node_id: NodeId
    port: int
    panel: str
    witness: bool = False


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Paths of everything that the agent keeps. The directory is 0700, the files 0600."""

    root: Path

    @property
    def agent(self) -> Path:
        return self.root / "agent.json"

    @property
    def key(self) -> Path:
        return self.root / "tls.key"

    @property
    def certificate(self) -> Path:
        return self.root / "tls.crt"

    @property
    def ca(self) -> Path:
        return self.root / "ca.crt"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.json"

    @property
    def panels(self) -> Path:
        return self.root / "panels.json"

    @property
    def panel_sources(self) -> Path:
        return self.root / "panel-sources.json"

    @property
    def revoked(self) -> Path:
        return self.root / "revoked.json"

    @property
    def time_alone(self) -> Path:
        return self.root / "time-alone.json"

    @property
    def quotas(self) -> Path:
        return self.root / "quotas.json"

    @property
    def usage(self) -> Path:
        return self.root / "usage.json"

    @property
    def adoptions(self) -> Path:
        return self.root / "adoptions.json"

    @property
    def relays(self) -> Path:
        return self.root / "relays"

    @property
    def desired(self) -> Path:
        return self.root / "desired"

    def make(self, damaged: DamagedFiles | None = None) -> None:
        """Create the directory, or tighten its mode.

        OSError where something else is in its place: a person named it, so it is somebody's, and is not set aside.
        """
        if os.path.lexists(self.root) and not self.root.is_dir():
            raise NotADirectoryError(f"{self.root} is not a directory; give one of the agent's own as --state-dir")
        make_directory(self.root, damaged or DamagedFiles())
        remove_temporaries(self.root, damaged or DamagedFiles())

    def read_agent(self) -> AgentFile:
        """Read who this agent is; raise ValueError, saying what to do, if it was never enrolled."""
        try:
            return msgspec.json.decode(read_file(self.agent), type=AgentFile)
        except FileNotFoundError:
            panels = self.root.with_name("wgfleet") / "agent"  # as the panel's own node has it, beside the usual place
            if StateDirectory(panels).agent.exists():
                raise ValueError(
                    f"{self.root} holds no enrolled agent; that of the panel on this machine is another: repeat it "
                    f"with --state-dir {panels}"
                ) from None
            raise ValueError(f"{self.root} holds no enrolled agent; run `wgfleet agent enroll` first") from None
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError) as error:
            raise ValueError(f"{self.agent} is damaged ({error}); enroll the agent again") from None

    def is_witness(self) -> bool:
        """Tell whether what is enrolled here, if anything that can be read, is a witness."""
        try:
            return self.read_agent().witness
        except ValueError:
            return False

    def recover_agent(self, damaged: DamagedFiles, *, witness: bool = False) -> AgentFile | None:
        """As `read_agent`, but a damaged file is made again from the certificate, which has the node's id.

        `witness`: that it was of a witness, which the certificate does not say.

        None: that is damaged as well, so only the interfaces can be kept. ValueError: nothing was ever enrolled here.
        """
        try:
            return self.read_agent()
        except ValueError as error:
            why = error
        try:
            about = AgentFile(NodeId(common_name(self.certificate)), AGENT_PORT, "", witness)
        except DamagedFileError:
            if not any(self.desired.glob("*.json*")):
                raise why from None
            damaged.note(str(why))
            return None
        if self.agent.exists():
            damaged.set_aside(self.agent, "it cannot be read", way_out=f"it was made again, with port {AGENT_PORT}")
        with contextlib.suppress(OSError):
            write_atomic(self.agent, msgspec.json.encode(about))
        return about

    def check_tls(self) -> None:
        """Raise `DamagedFileError` for the first part of the identity that is no readable file."""
        for path in (self.key, self.certificate, self.ca):
            try:
                read_file(path)
            except FileNotFoundError:
                raise DamagedFileError(f"{path.name} is missing") from None
            except DamagedFileError as error:
                raise DamagedFileError(f"{path.name}: {error}") from None

    def write_certificate(self, *, key: bytes, certificate: bytes, ca: bytes) -> None:
        """Replace key, certificate and CA (PEM) so that a crash leaves a matching pair."""
        write_atomic(self.ca, ca)
        new_certificate = self.certificate.with_name(self.certificate.name + _NEW)
        write_atomic(new_certificate, certificate)
        write_atomic(self.key, key)
        # A crash here is finished by `finish_renewal`.
        new_certificate.replace(self.certificate)
        sync_directory(self.root)

    def finish_renewal(self, damaged: DamagedFiles | None = None) -> None:
        """Finish or undo an interrupted replacement: the new certificate is used if it matches the key."""
        new = self.certificate.with_name(self.certificate.name + _NEW)
        try:
            read_file(new)
        except FileNotFoundError:
            return
        except DamagedFileError as error:
            (damaged or DamagedFiles()).set_aside(new, error, way_out="the panel renews the certificate in time")
            return
        try:
            read_file(self.key)
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(new, self.key)
            new.replace(self.certificate)
        except ssl.SSLError:
            new.unlink()
        except (OSError, DamagedFileError) as error:  # nothing can be decided, so nothing is lost
            _log.error("renewal.not_finished", reason=str(error))


def expires_at(certificate: Path) -> float:
    """Return when a certificate expires, in s since the epoch.

    Walks the DER by hand (RFC 5280, section 4.1): a library that parses certificates would be a sixth of the agent's
    memory, for this one field.
    """
    tag, text = _der_items(_fields(certificate)[4][1])[1]
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()


def common_name(certificate: Path) -> str:
    """Return the common name of a certificate's subject; raise `DamagedFileError` if it cannot be read."""
    try:
        for _, name in _der_items(_fields(certificate)[5][1]):
            (_, kind), (_, value) = _der_items(_der_items(name)[0][1])
            if kind == _COMMON_NAME:
                return value.decode("ascii")
    except (DamagedFileError, ValueError, IndexError, OSError) as error:
        raise DamagedFileError(error) from None
    raise DamagedFileError("no common name")


def _fields(certificate: Path) -> list[tuple[int, bytes]]:
    """Return version, serial, signature algorithm, issuer, validity, subject and so on."""
    der = ssl.PEM_cert_to_DER_cert(read_file(certificate).decode("ascii"))
    fields = _der_items(_der_items(_der_items(der)[0][1])[0][1])
    if fields[0][0] != _VERSION:
        raise ValueError(f"{certificate} is not an X.509 v3 certificate")
    return fields


_VERSION, _UTC_TIME = 0xA0, 0x17
_COMMON_NAME = b"\x55\x04\x03"  # 2.5.4.3 (X.520)
_LONG = 0x80  # bit of a length that is itself several bytes long (X.690, section 8.1.3)


def _der_items(data: bytes) -> list[tuple[int, bytes]]:
    """Split DER into (tag, content)."""
    items, at = [], 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & _LONG:
            count = size & ~_LONG
            size, at = int.from_bytes(data[at : at + count]), at + count
        items.append((tag, data[at : at + size]))
        at += size
    return items

"""The identity of this agent: its id, where it listens, its key and certificates, in the state directory."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from wgfleet.agent.state.files import remove_temporaries, sync_directory, write_atomic
from wgfleet.protocol.ids import NodeId

DEFAULT_STATE_DIR = Path("/var/lib/wgfleet-agent")
_NEW = ".new"


class AgentFile(Struct, frozen=True):
    """Content of `agent.json`."""

    node_id: NodeId
    port: int
    panel: str


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
    def desired(self) -> Path:
        return self.root / "desired"

    def make(self) -> None:
        """Create the directory, or tighten its mode."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        remove_temporaries(self.root)

    def read_agent(self) -> AgentFile:
        """Read who this agent is; raise ValueError, saying what to do, if it was never enrolled."""
        try:
            return msgspec.json.decode(self.agent.read_bytes(), type=AgentFile)
        except FileNotFoundError:
            raise ValueError(f"{self.root} holds no enrolled agent; run `wgfleet agent enroll` first") from None
        except msgspec.MsgspecError as error:
            raise ValueError(f"{self.agent} is damaged ({error}); enroll the agent again") from None

    def write_certificate(self, *, key: bytes, certificate: bytes, ca: bytes) -> None:
        """Replace key, certificate and CA (PEM) so that a crash leaves a matching pair."""
        write_atomic(self.ca, ca)
        new_certificate = self.certificate.with_name(self.certificate.name + _NEW)
        write_atomic(new_certificate, certificate)
        write_atomic(self.key, key)
        # A crash here is finished by `finish_renewal`.
        new_certificate.replace(self.certificate)
        sync_directory(self.root)

    def finish_renewal(self) -> None:
        """Finish or undo an interrupted replacement: the new certificate is used if it matches the key."""
        new = self.certificate.with_name(self.certificate.name + _NEW)
        if not new.exists():
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(new, self.key)
        except ssl.SSLError:
            new.unlink()
        else:
            new.replace(self.certificate)


def expires_at(certificate: Path) -> float:
    """Return when a certificate expires, in s since the epoch.

    Walks the DER by hand (RFC 5280, section 4.1): a library that parses certificates would be a sixth of the agent's
    memory, for this one field.
    """
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))
    fields = _der_items(_der_items(_der_items(der)[0][1])[0][1])
    if fields[0][0] != _VERSION:
        raise ValueError(f"{certificate} is not an X.509 v3 certificate")
    # version, serial, signature algorithm, issuer, validity
    tag, text = _der_items(fields[4][1])[1]
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()


_VERSION, _UTC_TIME = 0xA0, 0x17
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

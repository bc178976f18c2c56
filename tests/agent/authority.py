"""The panel's CA as the tests of an agent use it: with files, and for strangers too."""

import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509.oid import ExtendedKeyUsageOID

from wgfleet.panel.agents import authority as product
from wgfleet.panel.agents.authority import Identity, agent_server_name

DAYS = 30


@dataclass(frozen=True)
class Files:
    """Paths of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A CA whose certificates are in a directory."""

    def __init__(self, directory: Path, name: str = "test") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._ca = product.Authority.create(name, time.time())
        self.pem = self._ca.certificate_pem
        self.path = directory / "ca.crt"
        self.path.write_text(self.pem)

    def panel(self) -> Files:
        """Make what the panel calls agents with."""
        return self._files("panel", self._ca.issue_panel_client(time.time(), DAYS))

    def node(self, node_id: str) -> Files:
        """Make what a node's agent answers with."""
        return self._files(node_id, self._ca.issue_server([agent_server_name(node_id)], [], time.time(), DAYS))

    def stranger(self, name: str) -> Files:
        """Make a client's identity for somebody who is not the panel."""
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        # Of its own accord the product makes no such certificate.
        return self._files(name, self._ca._identity(name, usage, [], time.time(), DAYS))  # noqa: SLF001 - see above

    def sign(self, csr: str, node_id: str, days: int = DAYS) -> str:
        """Certify the key of an agent's request; return PEM."""
        return self._ca.issue_agent(csr, node_id, time.time(), days)

    def _files(self, name: str, identity: Identity) -> Files:
        files = Files(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        files.certificate.write_text(identity.certificate)
        files.key.write_text(identity.key)
        return files

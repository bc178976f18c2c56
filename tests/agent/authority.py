"""A small private CA for tests: EC P-256, certificates with one purpose."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_PEM = serialization.Encoding.PEM


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@dataclass(frozen=True)
class Files:
    """Paths of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    def __init__(self, directory: Path, name: str = "test CA") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(_PEM)
        self.fingerprint = "sha256:" + certificate.fingerprint(hashes.SHA256()).hex()
        self.path = directory / "ca.crt"
        self.path.write_bytes(self.pem)

    def issue(self, common_name: str, purpose: x509.ObjectIdentifier, *names: str, days: int = 30) -> Files:
        """Make a key and a certificate for it, with DNS names or IP addresses as alternative names."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = self._certify(_name(common_name), key.public_key(), purpose, names, days)
        files = Files(self._directory / f"{common_name}.crt", self._directory / f"{common_name}.key")
        files.certificate.write_bytes(pem)
        files.key.write_bytes(_private(key))
        return files

    def sign(self, csr: str, common_name: str, purpose: x509.ObjectIdentifier, *names: str, days: int = 30) -> str:
        """Certify the key of a request; return PEM."""
        key = x509.load_pem_x509_csr(csr.encode()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return self._certify(_name(common_name), key, purpose, names, days).decode()

    def _certify(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        purpose: x509.ObjectIdentifier,
        names: tuple[str, ...],
        days: int,
    ) -> bytes:
        builder = self._builder(subject, key, days=days).add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int = 30
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=days))
        )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

"""The private CA: who may call an agent, and who may answer as one.

An agent's certificate is for a server only and the panel's for a client only, so neither can play the other. Names in
a certificate are ours: nothing of a request is copied but its public key.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wgfleet.panel.domain.certificates import Issued, RevokedSerial
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.messages import CSR_LIMIT
from wgfleet.protocol.reasons import Reason

DAY_S = 86400
AUTHORITY_DAYS = 3650
LIFETIME_DAYS = 90
RENEW_AT = 2 / 3
BACKDATE = timedelta(days=7)  # a machine whose clock is behind by less must not refuse a fresh certificate
AHEAD_S = 3600.0
PANEL_NAME = "panel"

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class Identity(NamedTuple):
    """A certificate and its private key, both PEM. The key is a secret. `expires_at` in s since the epoch."""

    certificate: str
    key: str
    expires_at: float


def agent_server_name(node_id: str) -> str:
    """Return the DNS name that the certificate of a node's agent carries; it is never resolved."""
    return f"{node_id}.node.wgfleet.internal"


def renewal_due(expires_at: float, now: float, lifetime_days: int = LIFETIME_DAYS) -> bool:
    """Tell whether two thirds of a certificate's life are over, or it was issued by a clock that was ahead."""
    left_s, lifetime_s = expires_at - now, lifetime_days * DAY_S
    return left_s <= lifetime_s * (1 - RENEW_AT) or left_s > lifetime_s + AHEAD_S


class Authority:
    """The CA of one panel installation. Times are s since the epoch."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self.certificate_pem = certificate.public_bytes(Encoding.PEM).decode()
        self.fingerprint = "sha256:" + hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()

    @classmethod
    def create(cls, panel_id: str, now: float) -> "Authority":
        """Make a CA with a new key, and a name that no other CA of the panel has: agents tell them apart by it."""
        key = ec.generate_private_key(ec.SECP256R1())
        number = x509.random_serial_number()
        name = _name(f"wgfleet {panel_id} {number & 0xFFFFFFFF:08x}")
        certificate = (
            _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate: str, key: str) -> "Authority":
        """Take the CA from its PEM texts."""
        private = load_pem_private_key(key.encode(), password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key is not an EC key")
        return cls(x509.load_pem_x509_certificate(certificate.encode()), private)

    @property
    def name(self) -> str:
        """The name by which certificates say that they are of this CA; no other one of a panel has it."""
        return _common_name(self._certificate.subject)

    @property
    def expires_at(self) -> float:
        """The end of its life in s since the epoch."""
        return self._certificate.not_valid_after_utc.timestamp()

    @property
    def key_pem(self) -> str:
        """The CA's private key; it leaves this object only to be sealed."""
        return _private_pem(self._key)

    def issue_agent(self, csr_pem: str, node_id: str, now: float, days: int = LIFETIME_DAYS) -> str:
        """Sign an agent's request as `node_id`, for use as a server; raise `FieldError("csr", ...)` on a bad one."""
        names = [x509.DNSName(agent_server_name(node_id))]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return _pem(self._issue(node_id, _requested_key(csr_pem), usage, names, now=now, days=days))

    def issue_panel_client(self, now: float, days: int = LIFETIME_DAYS) -> Identity:
        """Make the identity with which the panel calls agents."""
        return self._identity(PANEL_NAME, ExtendedKeyUsageOID.CLIENT_AUTH, [], now, days)

    def revocation_list(self, revoked: Iterable[RevokedSerial], number: int, now: float) -> str:
        """Sign a list of revoked certificates (RFC 5280, section 5), as PEM; `number` is its number."""
        at = datetime.fromtimestamp(int(now), UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(at - BACKDATE)
            .next_update(at + timedelta(days=AUTHORITY_DAYS))  # agents keep what they heard, whatever the date
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(int(each.serial, 16))
            builder = builder.add_revoked_certificate(
                entry.revocation_date(datetime.fromtimestamp(int(each.at), UTC)).build()
            )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def issue_server(
        self, names: Sequence[str], addresses: Sequence[str], now: float, days: int = LIFETIME_DAYS
    ) -> Identity:
        """Make the identity of the panel's https listener for DNS names and IP addresses (at least one of them)."""
        subjects: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        subjects += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        common_name = [*names, *addresses][0][:64]  # RFC 5280, ub-common-name
        return self._identity(common_name, ExtendedKeyUsageOID.SERVER_AUTH, subjects, now, days)

    def _identity(
        self,
        common_name: str,
        usage: x509.ObjectIdentifier,
        subjects: Sequence[x509.GeneralName],
        now: float,
        days: int,
    ) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._issue(common_name, key.public_key(), usage, subjects, now=now, days=days)
        return Identity(_pem(certificate), _private_pem(key), certificate.not_valid_after_utc.timestamp())

    def _issue(
        self,
        common_name: str,
        key: PublicKey,
        usage: x509.ObjectIdentifier,
        subjects: Sequence[x509.GeneralName],
        *,
        now: float,
        days: int,
    ) -> x509.Certificate:
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(_name(common_name), self._certificate.subject, key, now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            .add_extension(issuer_key, critical=False)
        )
        if subjects:
            builder = builder.add_extension(x509.SubjectAlternativeName(subjects), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def described(certificate_pem: str) -> Issued:
    """Return what is kept of a certificate."""
    parsed = x509.load_pem_x509_certificate(certificate_pem.encode())
    expires_at = parsed.not_valid_after_utc.timestamp()
    return Issued(f"{parsed.serial_number:x}", key_digest(certificate_pem), expires_at, _common_name(parsed.issuer))


def certificate_expires_at(certificate_pem: str) -> float:
    """Return the end of a certificate's life in s since the epoch."""
    return x509.load_pem_x509_certificate(certificate_pem.encode()).not_valid_after_utc.timestamp()


def key_digest(certificate: str | bytes) -> str:
    """Name the public key of a certificate (PEM text, or DER): the SHA-256 of its SubjectPublicKeyInfo, in hex."""
    if isinstance(certificate, str):
        parsed = x509.load_pem_x509_certificate(certificate.encode())
    else:
        parsed = x509.load_der_x509_certificate(certificate)
    key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


def _requested_key(csr_pem: str) -> PublicKey:
    if len(csr_pem) > CSR_LIMIT:
        raise FieldError("csr", Reason("is longer than {csr_limit} characters", csr_limit=CSR_LIMIT))
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        signed = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise FieldError("csr", Reason("must be a PKCS#10 certificate request in PEM form")) from None
    if not signed:
        raise FieldError("csr", Reason("its signature is not that of its own key"))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    raise FieldError("csr", Reason("its key must be of kind EC (P-256, P-384, P-521) or Ed25519"))


def _builder(subject: x509.Name, issuer: x509.Name, key: PublicKey, now: float, days: int) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp(int(now), UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - BACKDATE)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _common_name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

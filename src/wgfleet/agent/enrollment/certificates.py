"""Certificate requests of the agent. Imported only to enroll and to renew: `cryptography` costs 10 MB of memory."""

import time
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import NodeId


def make_request(name: str) -> tuple[bytes, str]:
    """Make an EC P-256 key (PEM) and a certificate request (PEM) for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, request.public_bytes(serialization.Encoding.PEM).decode()


def check_certificate(*, key: bytes, certificate: str, node_id: NodeId, now: float | None = None) -> None:
    """Raise `FieldError` unless the certificate (PEM) is of this key and this node, and valid by this machine's clock.

    `now` is s since the epoch, None: what the clock says.
    """
    try:
        parsed = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        raise FieldError("certificate", "is not a certificate in PEM form") from None
    private = serialization.load_pem_private_key(key, password=None)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if parsed.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise FieldError("certificate", "is not for the key of the last request; ask for a new request")
    names = [attribute.value for attribute in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [node_id]:
        raise FieldError("certificate", f"is for {names}, but this agent is node {node_id}")
    _check_dates(parsed, datetime.fromtimestamp(time.time() if now is None else now, UTC))


def _check_dates(certificate: x509.Certificate, now: datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begins <= now < ends:
        return
    trouble = f"begins at {begins:%Y-%m-%d %H:%M}" if now < begins else f"ended at {ends:%Y-%m-%d %H:%M}"
    raise FieldError(
        "certificate",
        f"{trouble}, but this machine's clock says {now:%Y-%m-%d %H:%M} (UTC): set its clock or the panel's by NTP",
    )

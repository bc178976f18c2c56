"""Certificate requests of the agent. Imported only to enroll and to renew: `cryptography` costs 10 MB of memory."""

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


def check_certificate(*, key: bytes, certificate: str, node_id: NodeId) -> None:
    """Raise `FieldError` unless the certificate (PEM) is of this key and of this node."""
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

"""Lists of revoked certificates, as the panel's CA signs them. Imported only when one comes: it costs memory."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from wgfleet.protocol.errors import FieldError


def read_list(crl: str, ca: bytes) -> dict[str, float]:
    """Return when each certificate of a list (PEM) was revoked, in s since the epoch, by serial number in hex.

    Raise `FieldError` unless a CA of `ca` (PEM) has signed it. Its dates are not looked at: what was revoked once stays
    so, and clocks may be wrong.
    """
    try:
        parsed = x509.load_pem_x509_crl(crl.encode())
        signed = any(_is_from(parsed, authority) for authority in x509.load_pem_x509_certificates(ca))
        found = {f"{each.serial_number:x}": each.revocation_date_utc.timestamp() for each in parsed}
    except (ValueError, UnsupportedAlgorithm):
        raise FieldError("crl", "is not a list of revoked certificates in PEM form") from None
    if not signed:
        raise FieldError("crl", "is not signed by the CA of this agent's panel")
    return found


def _is_from(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    try:
        return crl.is_signature_valid(key)  # type: ignore[arg-type]
    except TypeError:  # a key of another kind than can sign
        return False

"""The private CA: what it signs, for whom, and what it refuses."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wgfleet.panel.agents.authority import Authority, certificate_expires_at, renewal_due
from wgfleet.protocol.errors import FieldError

NOW = 1_800_000_000.0
DAY = 86400


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("panel-1", NOW)


def request(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, name: str = "evil") -> str:
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("other.node.wgfleet.internal")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.PEM).decode()


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def names(certificate: x509.Certificate) -> list[str]:
    return [str(n.value) for n in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


def common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()])
def test_an_agent_gets_our_names_and_its_own_key_and_nothing_else_of_its_request(
    authority: Authority, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    certificate = x509.load_pem_x509_certificate(authority.issue_agent(request(key), "node1", NOW).encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate_pem.encode()))
    assert certificate.public_key() == key.public_key()
    assert common_name(certificate) == "node1"
    assert names(certificate) == ["node1.node.wgfleet.internal"]
    assert usages(certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_panel_gets_a_client_certificate_that_cannot_serve(authority: Authority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.issue_panel_client(NOW).certificate.encode())
    assert common_name(certificate) == "panel"
    assert usages(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_the_listener_gets_its_names_and_addresses(authority: Authority) -> None:
    identity = authority.issue_server(["vpn.example.com"], ["192.0.2.1", "2001:db8::1"], NOW)
    certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
    assert names(certificate) == ["vpn.example.com", "192.0.2.1", "2001:db8::1"]
    assert usages(certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_certificates_start_a_week_back_and_last_ninety_days(authority: Authority) -> None:
    identity = authority.issue_panel_client(NOW)
    certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
    assert NOW - certificate.not_valid_before_utc.timestamp() == 7 * DAY
    assert identity.expires_at == certificate_expires_at(identity.certificate) == NOW + 90 * DAY


def test_renewal_is_due_after_two_thirds_of_the_life() -> None:
    expires_at = NOW + 90 * DAY
    assert not renewal_due(expires_at, NOW + 59 * DAY)
    assert renewal_due(expires_at, NOW + 60 * DAY + 1)
    assert renewal_due(NOW, NOW + DAY)


@pytest.mark.parametrize(
    ("csr", "reason"),
    [
        ("", "PKCS#10"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "PKCS#10"),
        ("é" * 100, "PKCS#10"),
        ("x" * 9000, "longer"),
        (request(rsa.generate_private_key(65537, 2048)), "EC"),
        (request(ec.generate_private_key(ec.SECP256K1())), "EC"),
    ],
)
def test_a_request_that_is_none_or_has_another_kind_of_key_is_refused(
    authority: Authority, csr: str, reason: str
) -> None:
    with pytest.raises(FieldError, match=reason) as caught:
        authority.issue_agent(csr, "node1", NOW)
    assert caught.value.field == "csr"


def test_a_request_that_its_key_did_not_sign_is_refused(authority: Authority) -> None:
    good = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1())).encode())
    raw = bytearray(good.public_bytes(Encoding.DER))
    raw[raw.index(b"evil")] ^= 1
    forged = x509.load_der_x509_csr(bytes(raw)).public_bytes(Encoding.PEM).decode()
    with pytest.raises(FieldError, match="signature"):
        authority.issue_agent(forged, "node1", NOW)


def test_a_stored_authority_signs_like_the_one_that_was_made(authority: Authority) -> None:
    again = Authority.load(authority.certificate_pem, authority.key_pem)
    assert again.fingerprint == authority.fingerprint
    assert again.fingerprint.startswith("sha256:")
    certificate = x509.load_pem_x509_certificate(again.issue_panel_client(NOW).certificate.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate_pem.encode()))

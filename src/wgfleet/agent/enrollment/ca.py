"""The panel's own CA, fetched over an untrusted network, by the fingerprint that its administrator was shown."""

import hashlib
import ssl

import httpx

_TIMEOUT_S = 30.0


class TrustError(Exception):
    """The CA cannot be fetched, or is not the expected one; the text says what to do."""


def fetch_ca(panel: str, fingerprint: str) -> str:
    """Return the CA certificate (PEM) of the panel at `panel`, if its SHA-256 is `fingerprint` (`sha256:HEX`)."""
    try:
        response = httpx.get(
            f"{panel.rstrip('/')}/api/ca.pem",
            verify=False,  # noqa: S501 - what comes back is compared with the fingerprint
            timeout=_TIMEOUT_S,
            trust_env=False,
        )
        response.raise_for_status()
        der = ssl.PEM_cert_to_DER_cert(response.text)
    except httpx.HTTPError as error:
        raise TrustError(f"the panel's CA cannot be fetched from {panel}: {error}") from None
    except ValueError:
        raise TrustError(f"{panel}/api/ca.pem is not a certificate; is it a wgfleet panel?") from None
    found = hashlib.sha256(der).hexdigest()
    if found != fingerprint.removeprefix("sha256:").replace(":", "").lower():
        raise TrustError(
            f"the CA of {panel} has the fingerprint sha256:{found}, not the one given; "
            "copy it again; if it still differs, somebody intercepts the connection"
        )
    return ssl.DER_cert_to_PEM_cert(der)

"""The panel's own CA, fetched over an untrusted network, by the fingerprint that its administrator was shown."""

import hashlib
import re
import ssl
from urllib.parse import urlsplit

import httpx

from wgfleet.doors.tries import CONNECT_S, Tell, Tries
from wgfleet.protocol.quotes import quoted

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
TIMEOUT = httpx.Timeout(30.0, connect=CONNECT_S)


class TrustError(Exception):
    """The CA cannot be fetched, or is not the expected one; the text says what to do."""


def ways_out(panel: str, reason: str, *, pinned: bool) -> str | None:
    """Return what helps where a panel's certificate is not accepted; None where a call failed for another reason.

    `pinned`: the caller believes a CA that it was given, rather than those of its machine.
    """
    host = urlsplit(panel).hostname
    if "certificate is not valid for" in reason:
        return (
            f"its certificate does not name {host}: where the panel runs, start it with `--name {host}` (in its "
            "settings: tls.names), or use an address that the certificate has"
        )
    if "CERTIFICATE_VERIFY_FAILED" not in reason:
        return None
    if pinned:
        return (
            "its certificate is not of the CA that is believed here: a proxy in front of it may have another, which is "
            "checked against this machine's CAs without --ca-fingerprint; if the panel's CA was replaced, log in again"
        )
    return (
        "its certificate is of a CA that this machine does not know; a panel's own CA is believed with "
        "--ca-fingerprint, which `wgfleet panel run` prints"
    )


def fetch_ca(panel: str, fingerprint: str, tell: Tell) -> str:
    """Return the CA certificate (PEM) of the panel at `panel`, if its SHA-256 is `fingerprint` (`sha256:HEX`)."""
    wanted = fingerprint.strip().lower().removeprefix("sha256:").replace(":", "")
    if not _FINGERPRINT.fullmatch(wanted):
        raise TrustError(f"{quoted(fingerprint)} is no fingerprint, which is sha256: and 64 hexadecimal digits")
    try:
        # Not verified: what comes back is compared with the fingerprint.
        with httpx.Client(verify=False, timeout=TIMEOUT, trust_env=False) as client:  # noqa: S501 - see above
            response = Tries(client, tell).request("GET", f"{panel.rstrip('/')}/api/ca.pem")
        response.raise_for_status()
        der = ssl.PEM_cert_to_DER_cert(response.text)
    except httpx.HTTPStatusError as error:
        raise TrustError(
            f"{panel} answers HTTP {error.response.status_code} when asked for its CA; give the panel's address as "
            "`wgfleet panel run` prints it, without the path of a page"
        ) from None
    except httpx.HTTPError as error:
        raise TrustError(f"the panel's CA cannot be fetched from {panel}: {error}") from None
    except ValueError:
        raise TrustError(f"{panel}/api/ca.pem is not a certificate; is it a wgfleet panel?") from None
    found = hashlib.sha256(der).hexdigest()
    if found != wanted:
        raise TrustError(
            f"the CA of {panel} has the fingerprint sha256:{found}, not the one given; "
            "copy it again; if it still differs, somebody intercepts the connection"
        )
    return ssl.DER_cert_to_PEM_cert(der)

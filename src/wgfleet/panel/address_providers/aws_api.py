"""Client of EC2's query API: signed calls, answers in XML, and the meaning of each failure. Knows no nodes.

Signature Version 4 is written out here: the official library is 17 MB to download and 32 MB on disk, for two calls.
Only the signature, never the secret, is sent.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

import httpx
from pydantic import SecretStr

from wgfleet.panel import clock
from wgfleet.panel.accounts import Account, Blocked
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.provider_http import exchange, faulty, open_client, words
from wgfleet.protocol.reasons import Reason

VERSION = "2016-11-15"
SERVICE, ALGORITHM, FORM = "ec2", "AWS4-HMAC-SHA256", "application/x-www-form-urlencoded; charset=utf-8"
# Published: buckets of 100 reads and of 50 changes in a region, refilled by 20 and 5 a second. This is 5 of both.
CALLS, WINDOW_S = 300, 60.0
REFILLED_S = 5.0
LIMITED = {"RequestLimitExceeded", "Throttling", "ThrottlingException", "EC2ThrottledException"}
REFUSED = {
    "AuthFailure", "UnauthorizedOperation", "InvalidClientTokenId", "SignatureDoesNotMatch", "AccessDenied",
    "OptInRequired", "Blocked", "MissingAuthenticationToken", "IncompleteSignature",
}  # fmt: skip
BUSY = {"RequestExpired", "InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable", "IncorrectState"}


class Ec2Api:
    """Calls with one key in one region. `calls` counts them all; one that fails may have been carried out."""

    def __init__(self, url: str, region: str, key_id: str, secret: SecretStr, timeout_s: float) -> None:
        self._region, self._key_id, self._secret = region, key_id, secret
        self._timeout_s = timeout_s
        self._client = open_client(url, timeout_s)
        digest = hashlib.sha256(f"{key_id} {region}".encode()).hexdigest()
        self.account = Account(f"{SERVICE} {digest[:32]}", CALLS, WINDOW_S)
        self.calls = 0

    def close(self) -> None:
        self._client.close()

    def call(self, action: str, parameters: Mapping[str, str]) -> ET.Element:
        """Return the answer's document."""
        self.calls += 1
        body = urlencode({"Action": action, "Version": VERSION, **parameters}, quote_via=quote)
        host = self._client.base_url.netloc.decode()
        headers = signed_headers(
            host, body, clock.now(), region=self._region, key_id=self._key_id, secret=self._secret.get_secret_value()
        )
        response, content = exchange(self._client, host, self._timeout_s, "POST", "/", content=body, headers=headers)
        return read_answer(host, action, response, content)


def signed_headers(host: str, body: str, now: float, *, region: str, key_id: str, secret: str) -> dict[str, str]:
    """Return the headers of a POST to `/` (AWS Signature Version 4)."""
    at = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"content-type": FORM, "host": host, "x-amz-date": at}
    names = ";".join(sorted(headers))
    listed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"POST\n/\n\n{listed}\n{names}\n{hashlib.sha256(body.encode()).hexdigest()}"
    scope = f"{at[:8]}/{region}/{SERVICE}/aws4_request"
    text = f"{ALGORITHM}\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return {
        **headers,
        "authorization": f"{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={key.hex()}",
    }


def read_answer(host: str, action: str, response: httpx.Response, content: bytes) -> ET.Element:
    found = _document(content)
    if response.is_success and found is not None and found.tag == f"{action}Response":
        return found
    code = "" if found is None else found.findtext(".//Error/Code", "")
    said = words(f"{found.findtext('.//Error/Message', '')} ({code})") if found is not None and code else ""
    wait = response.headers.get("retry-after", "")
    wait_s = float(wait) if re.fullmatch(r"\d{1,4}", wait) else None
    if code in LIMITED or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise Blocked(
            Reason("{host} refuses more calls of this account: {said}", host=host, said=said),
            retry_after_s=wait_s or REFILLED_S,
        )
    if code in BUSY or response.is_server_error or not code:
        what = said or Reason("an answer that is not in the API's format (HTTP {status})", status=response.status_code)
        raise TransientError(faulty(host, what, read=action.startswith("Describe")), retry_after_s=wait_s)
    if code in REFUSED:
        raise PermanentError(
            Reason(
                "{host} does not allow this key to do this: {said}; it needs ec2:DescribeAddresses and "
                "ec2:AssociateAddress",
                host=host,
                said=said,
            )
        )
    raise PermanentError(Reason("{host} refuses: {said}", host=host, said=said))


def _document(content: bytes) -> ET.Element | None:
    """Return a document without namespaces in its tags; None for what is none."""
    try:
        found = ET.fromstring(content)  # noqa: S314 - bounded, and expat limits what entities may grow to
    except (ET.ParseError, LookupError, ValueError):  # the others: of an encoding that it names
        return None
    for element in found.iter():
        element.tag = element.tag.rpartition("}")[2]
    return found

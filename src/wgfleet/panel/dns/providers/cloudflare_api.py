"""Client of Cloudflare's HTTP API: calls, answers, and the meaning of each failure. Knows nothing of records.

`TransientError` if another attempt may help, `Blocked` for an exhausted rate limit, `Raced` if somebody else changed
the name, otherwise `PermanentError` with Cloudflare's own message. Only the client's header holds the token.
"""

import contextlib
import re
from typing import Any

import httpx
from pydantic import SecretStr

from wgfleet.panel.dns.providers import Blocked, Raced
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.provider_answers import shown_answer
from wgfleet.panel.provider_http import faulty, open_client, words
from wgfleet.protocol.reasons import Reason

BLOCK_S = 300.0  # published: an account that exceeds the rate limit is blocked for the next five minutes
# Error codes, of which there is no official list. The first three mean that the name is not as it was read.
GONE = 81044
EXISTS = {81057, 81058}
ALIAS_CONFLICT = {81053, 81054}
AUTHENTICATION = {1000, 6003, 6111, 9106, 9109, 10000, 10001}
UNREADABLE = "an answer that is not in the API's format"


class Api:
    """Calls with one token. `calls` counts them all; a call that fails may have been carried out."""

    def __init__(self, url: str, token: SecretStr, timeout_s: float) -> None:
        self._client = open_client(
            url,
            timeout_s,
            {"authorization": f"Bearer {token.get_secret_value()}", "accept": "application/json"},
        )
        self.host = self._client.base_url.host
        self._secrets = {"token": token.get_secret_value()}

    def close(self) -> None:
        self._client.close()

    def call(
        self, method: str, path: str, needs: str, *, query: dict[str, str] | None = None, body: Any = None
    ) -> dict[str, Any]:
        """Return the answer's body. `needs` is the permission that the call needs, as the dashboard names it."""
        try:
            response = self._client.request(method, path, params=query, json=body)
        except (httpx.TransportError, httpx.DecodingError) as error:
            # From None: the transport's error holds the request, which holds the token.
            raise TransientError(
                Reason("no answer from {host}: {why}", host=self.host, why=words(str(error)) or type(error).__name__)
            ) from None
        return self._read(response, needs, reads=method == "GET")

    def _read(self, response: httpx.Response, needs: str, *, reads: bool) -> dict[str, Any]:
        status = response.status_code
        if status == httpx.codes.TOO_MANY_REQUESTS:
            wait_s = _retry_after(response)
            raise Blocked(
                Reason("{host} has blocked this token for {wait_s:.0f} s", host=self.host, wait_s=wait_s),
                retry_after_s=wait_s,
            )
        body = _object(response)
        errors = self._errors(body)
        said = "; ".join(f"[{code}] {text}" for code, text in errors) or f"HTTP {status}"
        codes = {code for code, _ in errors}
        if response.is_server_error or body is None:
            what = (
                said
                if body is not None
                else Reason("{unreadable} (HTTP {status})", unreadable=UNREADABLE, status=status)
            )
            raise TransientError(
                faulty(self.host, what, read=reads),
                retry_after_s=_given_retry_after(response),
            )
        if response.is_success and body.get("success") is True:
            return body
        if codes & EXISTS:
            raise Raced(Reason("{host} already has such a record: {said}", host=self.host, said=said))
        if GONE in codes:
            raise Raced(Reason("{host} no longer has a record: {said}", host=self.host, said=said))
        if codes & ALIAS_CONFLICT:
            raise Raced(
                Reason("{host} has an alias at the name, or records beside it: {said}", host=self.host, said=said)
            )
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN} or codes & AUTHENTICATION:
            raise PermanentError(
                Reason(
                    "{host} does not allow this token to do this: {said}; it must be active, allowed from this "
                    "machine's address, and have the permission {needs!r} on this zone",
                    host=self.host,
                    said=said,
                    needs=needs,
                )
            )
        if status == httpx.codes.NOT_FOUND:
            raise PermanentError(
                Reason("{host} did not find it: {said}; check the zone's id", host=self.host, said=said)
            )
        if status in {httpx.codes.REQUEST_TIMEOUT, httpx.codes.CONFLICT}:
            raise TransientError(Reason("{host} answers: {said}", host=self.host, said=said))
        raise PermanentError(Reason("{host} refuses: {said}", host=self.host, said=said))

    def _errors(self, body: dict[str, Any] | None) -> list[tuple[int, str]]:
        listed = (body or {}).get("errors")
        if not isinstance(listed, list):
            return []
        return [
            (error["code"], shown_answer(str(error.get("message", "")), self._secrets))
            for error in listed
            if isinstance(error, dict) and isinstance(error.get("code"), int)
        ]


def _object(response: httpx.Response) -> dict[str, Any] | None:
    """Return the JSON object of the API's envelope, None for anything else."""
    if response.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return None
    with contextlib.suppress(ValueError):
        body = response.json()
        if isinstance(body, dict) and isinstance(body.get("success"), bool):
            return body
    return None


def _given_retry_after(response: httpx.Response) -> float | None:
    """Return the wait that the answer asks for, in s; this API does not use the header's other form, a date."""
    given = response.headers.get("retry-after", "")
    return float(given) if re.fullmatch(r"\d{1,6}", given) else None


def _retry_after(response: httpx.Response) -> float:
    return _given_retry_after(response) or BLOCK_S

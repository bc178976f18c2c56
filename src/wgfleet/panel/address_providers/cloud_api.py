"""Client of a cloud's HTTP API with JSON and a bearer token: calls, bounds, and the meaning of each failure.

What the clouds share, and no more: `TransientError` if another try may help, `Blocked` for an exhausted rate limit,
`NotThere` for what the cloud does not have, otherwise `PermanentError` with the cloud's own words. Only the client's
header holds the token. Must not know of addresses.
"""

import contextlib
import email.utils
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from wgfleet.panel import clock
from wgfleet.panel.accounts import Account, Blocked
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.provider_answers import shown_answer
from wgfleet.panel.provider_http import exchange, faulty, open_client
from wgfleet.protocol.reasons import Reason

MAX_WAIT_S = 3600.0
_TOKEN = re.compile(r"[!-~]+")  # otherwise the HTTP library puts the whole header into its error
_LOCKED = 423


class CloudModel(BaseModel):
    """A part of an answer. Fields beyond those that it names are of no interest."""

    model_config = ConfigDict(extra="ignore", strict=True)


Model = TypeVar("Model", bound=CloudModel)


class NotThere(PermanentError):
    """The cloud has no such thing, or this token may not see it."""


class CloudRefused(PermanentError):
    """The cloud does not do it. `code` is its own word for why."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class CloudService:
    """What differs from cloud to cloud. `calls` in `window_s` are what the panel may use of the published limit.

    `said` takes an error's code and words out of an answer; `busy` are codes that pass by themselves; `needs` says
    what the token must be allowed to do.
    """

    name: str
    url: str
    needs: str
    calls: int
    window_s: float
    said: Callable[[Mapping[str, Any]], tuple[str, str]]
    busy: frozenset[str] = frozenset()


class CloudApi:
    """Calls with one token. `calls` counts them all; one that fails may have been carried out."""

    def __init__(self, service: CloudService, url: str, token: SecretStr, timeout_s: float) -> None:
        self._service = service
        self._timeout_s = timeout_s
        self._client = open_client(
            url,
            timeout_s,
            {"authorization": f"Bearer {token.get_secret_value()}", "accept": "application/json"},
        )
        digest = hashlib.sha256(token.get_secret_value().encode()).hexdigest()
        self.account = Account(f"{service.name} {digest[:32]}", service.calls, service.window_s)
        self.calls = 0
        self._secrets = {"token": token.get_secret_value()}

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, *, query: dict[str, str] | None = None, body: Any = None) -> dict[str, Any]:
        """Return the answer's object, an empty one for an answer without content."""
        self.calls += 1
        host = self._client.base_url.host
        answer = exchange(self._client, host, self._timeout_s, method, path, params=query, json=body)
        return self._read(*answer, reads=method == "GET")

    def shown(self, text: str) -> str:
        """Return what the cloud says as it may be shown: without the token, which it may repeat."""
        return shown_answer(text, self._secrets)

    def _read(self, response: httpx.Response, content: bytes, *, reads: bool) -> dict[str, Any]:
        host, status = self._client.base_url.host, response.status_code
        body = _object(content)
        code, text = self._service.said(body or {})
        said = self.shown(f"{text} ({code})" if text and code else text or code) or f"HTTP {status}"
        wait_s = _wait_s(response)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise Blocked(
                Reason("{host} refuses more calls of this account: {said}", host=host, said=said), retry_after_s=wait_s
            )
        if response.is_success and (body is not None or not content.strip()):
            return body or {}
        if response.is_server_error or body is None:
            what = (
                said
                if body is not None
                else Reason("an answer that is not in the API's format (HTTP {status})", status=status)
            )
            raise TransientError(faulty(host, what, read=reads), retry_after_s=wait_s)
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise PermanentError(
                Reason(
                    "{host} does not allow this token to do this: {said}; it needs {needs}",
                    host=host,
                    said=said,
                    needs=self._service.needs,
                )
            )
        if status in {httpx.codes.CONFLICT, httpx.codes.REQUEST_TIMEOUT, _LOCKED} or code in self._service.busy:
            raise TransientError(Reason("{host} answers: {said}", host=host, said=said), retry_after_s=wait_s)
        if status == httpx.codes.NOT_FOUND:
            raise NotThere(Reason("{host} did not find it: {said}", host=host, said=said))
        raise CloudRefused(Reason("{host} refuses: {said}", host=host, said=said), code)


def checked_token(value: SecretStr) -> SecretStr:
    """Return a token without the line end that copying adds; raise `ValueError`, without it, for what cannot be one."""
    token = value.get_secret_value().strip()
    if not _TOKEN.fullmatch(token):
        raise ValueError(Reason("must be one word of ASCII characters, as the cloud's console shows it"))
    return SecretStr(token)


def parsed(kind: type[Model], found: object) -> Model:
    """Return a part of an answer, or raise `TransientError` where it is not of its form."""
    try:
        return kind.model_validate(found)
    except ValidationError:
        raise TransientError(
            Reason("the cloud gave an answer without {kind} in the API's format", kind=kind.__name__)
        ) from None


def _object(content: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        body = httpx.Response(200, content=content).json()
        if isinstance(body, dict):
            return body
    return None


def _wait_s(response: httpx.Response) -> float | None:
    """Return the wait that the answer asks for, in s: by `Retry-After`, a number or a date, and by nothing else.

    `RateLimit-Reset` says when all calls are there again, which is up to an hour after the first one is.
    """
    given = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,6}", given):
        return min(float(given), MAX_WAIT_S)
    with contextlib.suppress(ValueError, TypeError):
        return min(max(email.utils.parsedate_to_datetime(given).timestamp() - clock.now(), 0.0), MAX_WAIT_S)
    return None

"""Calls through a door that cuts connections off: what was never sent is sent again, within a time a person accepts.

On a network that loses packets a TLS handshake may take longer than a listener waits. Whatever the method, a call whose
connection or handshake failed is safe to make again; so is a read. A change that may have been received is not.
"""

import errno
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

Tell = Callable[[str], None]

CONNECT_S = 10.0  # by then a listener has cut off a handshake that does not come to its end
PATIENCE_S = 20.0  # no try begins later
_QUIET_S = 3.0
_PAUSES_S = (0.5, 1.0, 2.0)
_READS = ("GET", "HEAD")
_FRESH_S = 4.0  # less than the connections of `httpx` are kept
_BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError)
_PASSING = (errno.EHOSTUNREACH, errno.ETIMEDOUT)  # neighbors are looked for with three packets


class Tries:
    """Makes the calls of a client. `tell` gets a sentence, once, where that takes long."""

    def __init__(self, http: httpx.Client, tell: Tell) -> None:
        self._http = http
        self._tell: Tell | None = tell
        self._heard_at = float("-inf")

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        """Make a call and return its answer."""
        return self._made(method, url, stream=False, **more)

    def stream(self, method: str, url: str, **more: Any) -> httpx.Response:
        """Make a call and return its answer as soon as it begins; the caller closes it."""
        return self._made(method, url, stream=True, **more)

    def _made(self, method: str, url: str, *, stream: bool, **more: Any) -> httpx.Response:
        request = self._http.build_request(method, url, **more)
        began = time.monotonic()
        if method not in _READS and request.url.scheme == "https":
            self._be_let_in(request.url, began)
        answer = self._tried(request, began, stream=stream)
        self._heard_at = time.monotonic()
        return answer

    def _be_let_in(self, url: httpx.URL, began: float) -> None:
        """Read something first, unless the connection has been used just now.

        With TLS 1.3 a client has done its part of the handshake, and sends its call, before it can know whether the
        other side has. A change would then be lost, and nobody could tell.
        """
        if time.monotonic() - self._heard_at > _FRESH_S:
            self._tried(self._http.build_request("GET", url.join("/healthz")), began, stream=False)

    def _tried(self, request: httpx.Request, began: float, *, stream: bool) -> httpx.Response:
        for pause in _PAUSES_S:
            try:
                return self._http.send(request, stream=stream)
            except httpx.TransportError as error:
                took = time.monotonic() - began
                if took + pause > PATIENCE_S or not (was_never_sent(error) or _is_lost_read(request, error)):
                    raise
            if took > _QUIET_S and self._tell is not None:
                self._tell(f"{request.url.host} has not answered for {took:.0f} s; trying again")
                self._tell = None
            time.sleep(pause)
        return self._http.send(request, stream=stream)


def was_never_sent(error: httpx.TransportError) -> bool:
    """Say whether a call failed before it was sent, by something that may pass.

    A port where nobody listens, a name that nobody knows and a wrong certificate are not such things.
    """
    if isinstance(error, httpx.ConnectTimeout):
        return True
    return isinstance(error, httpx.ConnectError) and any(_passes(cause) for cause in _causes(error))


def may_be_done(method: str, error: httpx.HTTPError | httpx.InvalidURL) -> bool:
    """Say whether a call that failed may have been received, and done."""
    before = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol, httpx.PoolTimeout)
    return method not in _READS and isinstance(error, httpx.TransportError) and not isinstance(error, before)


def _is_lost_read(request: httpx.Request, error: httpx.TransportError) -> bool:
    return request.method in _READS and isinstance(error, _BROKEN) and not isinstance(error, httpx.ConnectError)


def _passes(cause: BaseException) -> bool:
    if isinstance(cause, ssl.SSLError):
        return isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    if isinstance(cause, ConnectionResetError | ConnectionAbortedError | BrokenPipeError | TimeoutError):
        return True
    return isinstance(cause, OSError) and cause.errno in _PASSING


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__

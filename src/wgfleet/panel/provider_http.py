"""HTTP as providers' APIs are called: public CAs, no proxies, bounds on answers, and no credential in an error."""

from functools import cache
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from wgfleet.panel import clock
from wgfleet.panel.errors import TransientError
from wgfleet.panel.provider_answers import one_line
from wgfleet.protocol.reasons import Reason

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0
MAX_BODY = 4 * 1024 * 1024
MAX_WORDS = 300


def open_client(url: str, timeout_s: float, headers: dict[str, str] | None = None) -> "httpx.Client":
    """Return a client of the API at `url`, below which paths are."""
    import httpx  # noqa: PLC0415 - 10 MB that only those need who have such providers

    return httpx.Client(
        base_url=url.rstrip("/") + "/",
        headers=headers,
        timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
        verify=_trusted(),
        trust_env=False,
    )


def exchange(
    client: "httpx.Client", host: str, timeout_s: float, method: str, path: str, **request: Any
) -> "tuple[httpx.Response, bytes]":
    """Return an answer and what is in it; raise `TransientError`, which names `host`, where there is none in time."""
    import httpx  # noqa: PLC0415 - as above

    try:
        with client.stream(method, path, **request) as response:
            content, deadline = bytearray(), clock.monotonic() + timeout_s
            for part in response.iter_bytes():
                content += part
                if len(content) > MAX_BODY or clock.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer is too long, or too slow")
    except (httpx.TransportError, httpx.DecodingError) as error:
        # From None: the transport's error holds the request, which holds the credential.
        raise TransientError(
            Reason("no answer from {host}: {why}", host=host, why=words(str(error)) or type(error).__name__)
        ) from None
    return response, bytes(content)


def faulty(host: str, what: str, *, read: bool) -> Reason:
    """Say that a host's answer is no answer. `read`: the call changes nothing, else it may have been carried out."""
    if read:
        return Reason("{host} answers: {said}", host=host, said=what)
    return Reason("{host} answers: {what}; whether it changed anything is not known", host=host, what=what)


def words(text: str) -> str:
    """Return a text of a provider as it may be shown: on one line, and not too long."""
    return one_line(text)[:MAX_WORDS]


@cache
def _trusted() -> SSLContext:
    """Return the public CAs; cached, because reading them takes longer than a call."""
    import httpx  # noqa: PLC0415 - as above

    return httpx.create_ssl_context(trust_env=False)

"""TLS of connections that have come in: it begins with the first bytes, which most strangers never send."""

import asyncio
import ssl


async def begin_tls(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    first: bytes,
    timeout_s: float | None = None,
) -> asyncio.Transport | None:
    """Do a handshake as its server, of which `first` has been received; return what to write to and to read from.

    None: the other side hung up. `protocol` may get data before this returns: what came with the end of the handshake.
    Raise OSError, which ssl.SSLError is too, where it fails or takes longer than `timeout_s` (None: asyncio's minute).
    """
    loop = asyncio.get_running_loop()
    loop.call_soon(_pass_on, transport, first)  # runs once start_tls waits: its own protocol is the transport's then
    return await loop.start_tls(transport, protocol, context, server_side=True, ssl_handshake_timeout=timeout_s)


def _pass_on(transport: asyncio.Transport, data: bytes) -> None:
    """Give what was read already to asyncio's protocol of TLS, as the transport would."""
    tls = transport.get_protocol()
    if isinstance(tls, asyncio.BufferedProtocol):
        memoryview(tls.get_buffer(len(data)))[: len(data)] = data
        tls.buffer_updated(len(data))

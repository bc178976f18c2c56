"""TLS listener of the agent: it admits the panel and nobody else, and reports who was refused and why.

TLS is done here and not in the HTTP server, because only here the address behind a failed handshake is known.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

PANEL_NAME = "panel"  # common name of the only client certificate that is admitted
_HANDSHAKE_TIMEOUT_S = 5.0
_MAX_HANDSHAKES = 64  # at the same time; more are closed at once
_USER_TIMEOUT_MS = 30_000  # unacknowledged data ends a connection after this: the panel's machine is gone


def make_context(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """Make a context that requires a client certificate of the CA; OpenSSL checks its purpose, `clientAuth`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    # Without tickets every connection presents its certificate, so no resumed one can outlive a change of CA.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


class PanelConnection(asyncio.Protocol):
    """One connection: TLS handshake, check of the certificate's name, then the HTTP protocol."""

    def __init__(
        self,
        context: ssl.SSLContext,
        make_protocol: Callable[[], asyncio.Protocol],
        refused: Callable[[str, str], None],
        admitted: Callable[[asyncio.Transport], None],
        pending: set[asyncio.Task[None]],
    ) -> None:
        self._context = context
        self._make_protocol = make_protocol
        self._refused = refused
        self._admitted = admitted
        self._pending = pending
        self._early: list[bytes] = []  # data received together with the end of the handshake
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server makes nothing else
        if len(self._pending) >= _MAX_HANDSHAKES:
            transport.abort()
            return
        task = asyncio.create_task(self._admit(transport))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    def data_received(self, data: bytes) -> None:
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost = True

    async def _admit(self, transport: asyncio.Transport) -> None:
        remote = str((transport.get_extra_info("peername") or ("unknown",))[0])
        raw = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            tls = await asyncio.get_running_loop().start_tls(
                transport, self, self._context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S
            )
        except ssl.SSLError as error:
            self._refused(remote, getattr(error, "verify_message", None) or error.reason or "tls failed")
            return
        except (OSError, ConnectionError):
            return  # it hung up: nobody to refuse
        if tls is None:  # it hung up during the handshake
            return
        names = common_names(tls.get_extra_info("peercert"))
        if names != [PANEL_NAME]:
            self._refused(remote, f"certificate of {', '.join(names) or 'nobody'}, not of the panel")
            tls.abort()
            return
        if self._lost:
            return
        self._admitted(tls)
        protocol = self._make_protocol()
        tls.set_protocol(protocol)
        protocol.connection_made(tls)
        for data in self._early:
            protocol.data_received(data)


def common_names(certificate: dict[str, object] | None) -> list[str]:
    """Return the common names of a certificate as `ssl` gives it."""
    subject = (certificate or {}).get("subject", ())
    return [value for part in subject for name, value in part if name == "commonName"]  # type: ignore[attr-defined]

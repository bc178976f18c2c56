"""TLS listener of the agent: it admits the panel and nobody else, and reports who was refused and why.

TLS is done here and not in the HTTP server, because only here the address behind a failed handshake is known.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

from wgfleet.agent.state.panel_sources import PanelSources
from wgfleet.doors.folding import Folding
from wgfleet.doors.strangers import Stranger, StrangerLimits, Strangers, has_sent, source_of
from wgfleet.doors.tls import begin_tls

PANEL_NAME = "panel"  # common name of the only client certificate that is admitted
_HANDSHAKE_TIMEOUT_S = 5.0
_LIMITS = StrangerLimits(source=4, favored=64, total=64)  # handshakes at the same time; one takes milliseconds
_MAX_REASONS = 20  # reports a minute, however many addresses knock
_USER_TIMEOUT_MS = 30_000  # unacknowledged data ends a connection after this: the panel's machine is gone


def make_context(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """Make a context that requires a client certificate of the CA; OpenSSL checks its purpose, `clientAuth`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # both ends are ours
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    # Without tickets every connection presents its certificate, so no resumed one can outlive a change of CA.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


class AgentDoor:
    """All connections of the listener that have not shown the panel's certificate yet, and who was refused.

    A few of each source: others go for newcomers. Sources that the panel came from last (`panel`) may have many and go
    last, so that no number of strangers keeps the panel out.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        make_protocol: Callable[[], asyncio.Protocol],
        refused: Callable[[str, str, int], None],
        admitted: Callable[[asyncio.Transport], None],
        panel: PanelSources,
        revoked: Callable[[str], str | None] = lambda _serial: None,
    ) -> None:
        self.context = context
        self.make_protocol = make_protocol
        self.strangers = Strangers(_LIMITS)
        self._report = refused
        self._admitted = admitted
        self._revoked = revoked
        self._inside: dict[asyncio.Transport, dict[str, object]] = {}
        self.folding: Folding[tuple[str, str]] = Folding(("others", "various reasons"), capacity=_MAX_REASONS)
        self._timer: asyncio.TimerHandle | None = None
        self._panel = panel

    def connection(self) -> "PanelConnection":
        """Return the protocol of a new connection."""
        return PanelConnection(self)

    def enter(self, transport: asyncio.Transport) -> Stranger:
        """Count a new connection in."""
        source = source_of(address_of(transport))
        raw = transport.get_extra_info("socket")
        return self.strangers.enter(source, transport.abort, lambda: has_sent(raw), favored=source in self._panel)

    def objection(self, certificate: dict[str, object] | None) -> str | None:
        """Return why a client with this certificate, as `ssl` gives it, is not let in; None: it is the panel."""
        names = common_names(certificate)
        if names != [PANEL_NAME]:
            return f"certificate of {', '.join(names) or 'nobody'}, not of the panel"
        # Its handshake may have begun while that CA was trusted.
        if (certificate or {}).get("issuer") not in [ca["subject"] for ca in self.context().get_ca_certs()]:
            return "its certificate is of a CA that is trusted no more"
        return self._revoked(serial_of(certificate))

    def end_refused(self) -> None:
        """Cut off open connections whose certificate has been revoked since they came, or is of a CA that has gone."""
        for transport, certificate in list(self._inside.items()):
            if transport.is_closing():
                continue
            reason = self.objection(certificate)
            if reason is not None:
                self.refused(address_of(transport), reason)
                transport.abort()

    def admitted(self, stranger: Stranger, transport: asyncio.Transport) -> None:
        """Take note that a connection showed the panel's certificate, and of where the panel is."""
        self._inside = {each: shown for each, shown in self._inside.items() if not each.is_closing()}
        self._inside[transport] = transport.get_extra_info("peercert") or {}
        self.strangers.leave(stranger)
        self._panel.note(stranger.source)
        self._admitted(transport)

    def refused(self, remote: str, reason: str) -> None:
        """Report a client that was refused: the first of a minute now, the others with their number when it is over."""
        loop = asyncio.get_running_loop()
        wanted = (source_of(remote), reason)
        told = self.folding.note(wanted, loop.time())
        if told is not None:
            self._report(remote if told == wanted else told[0], told[1], 1)
            if self._timer is None:
                self._timer = loop.call_later(self.folding.window_s, self._settle)

    def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        for (source, reason), more in self.folding.ended(loop.time()):
            self._report(source, reason, more)
        end = self.folding.next_end
        self._timer = None if end is None else loop.call_at(end, self._settle)


class PanelConnection(asyncio.Protocol):
    """One connection: TLS handshake, check of the certificate's name, then the HTTP protocol."""

    def __init__(self, door: AgentDoor) -> None:
        self._door = door
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._stranger: Stranger = cast("Stranger", None)
        self._unspoken: asyncio.TimerHandle | None = None  # ends it unless it begins a handshake
        self._admission: asyncio.Task[None] | None = None
        self._early: list[bytes] = []  # data received together with the end of the handshake
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._stranger = self._door.enter(self._transport)
        self._unspoken = asyncio.get_running_loop().call_later(_HANDSHAKE_TIMEOUT_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._admission is not None:
            self._early.append(data)
            return
        self._heard()
        self._transport.pause_reading()
        self._admission = asyncio.get_running_loop().create_task(self._admit(self._stranger, self._transport, data))
        self._admission.add_done_callback(lambda _: self._door.strangers.leave(self._stranger))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost = True
        self._heard()
        if self._admission is None:
            self._door.strangers.leave(self._stranger)

    def _heard(self) -> None:
        if self._unspoken is not None:
            self._unspoken.cancel()
            self._unspoken = None

    async def _admit(self, stranger: Stranger, transport: asyncio.Transport, first: bytes) -> None:
        if transport.is_closing():  # others came in the same moment: TLS would begin, and not hear that nobody is there
            return
        remote = address_of(transport)
        raw = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            tls = await begin_tls(transport, self, self._door.context(), first, _HANDSHAKE_TIMEOUT_S)
        except OSError as error:
            # Its frames hold asyncio's protocol, which holds it: 80 kB until the collector comes by.
            error.__traceback__ = None
            if isinstance(error, ssl.SSLError):  # others hung up: nobody to refuse
                self._door.refused(remote, getattr(error, "verify_message", None) or error.reason or "tls failed")
            return
        if tls is None:  # it hung up during the handshake
            return
        objection = self._door.objection(tls.get_extra_info("peercert"))
        if objection is not None:
            self._door.refused(remote, objection)
            tls.abort()
            return
        if self._lost:
            return
        self._door.admitted(stranger, tls)
        protocol = self._door.make_protocol()
        tls.set_protocol(protocol)
        protocol.connection_made(tls)
        for data in self._early:
            protocol.data_received(data)


def address_of(transport: asyncio.Transport) -> str:
    """Return the address of the other side."""
    return str((transport.get_extra_info("peername") or ("unknown",))[0])


def serial_of(certificate: dict[str, object] | None) -> str:
    """Return the serial number of a certificate as `ssl` gives it, in hex without zeros in front; empty: none."""
    return str((certificate or {}).get("serialNumber", "")).lower().lstrip("0")


def common_names(certificate: dict[str, object] | None) -> list[str]:
    """Return the common names of a certificate as `ssl` gives it."""
    subject = (certificate or {}).get("subject", ())
    return [value for part in subject for name, value in part if name == "commonName"]  # type: ignore[attr-defined]

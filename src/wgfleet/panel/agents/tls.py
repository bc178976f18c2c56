"""TLS contexts from PEM texts. Private keys pass to OpenSSL through anonymous memory, never through a file."""

import asyncio
import os
import ssl
from asyncio import sslproto
from collections.abc import Callable

from wgfleet.panel.agents.authority import Identity, key_digest


class AgentLine(ssl.SSLObject):
    """One TLS connection to an agent; it comes about only with a key that the agent has now."""

    def do_handshake(self) -> None:
        """Shake hands, and look at the key that was shown."""
        super().do_handshake()
        accepted = getattr(self.context, "accepted", {}).get(self.server_hostname)
        certificate = self.getpeercert(binary_form=True)
        shown = None if certificate is None else key_digest(certificate)
        if accepted and shown not in accepted:
            raise ssl.SSLCertVerificationError(
                1,
                "the agent shows a certificate that was replaced or revoked; if it is a copy of the node, that is as "
                "it should be; if not, enroll it again",
            )
        if shown is not None and isinstance(self.context, AgentTls):
            self.context.shown[str(self.server_hostname)] = shown


class AgentTls(ssl.SSLContext):
    """The context with which the panel calls agents.

    `accepted`: by TLS server name, digests of the keys that this agent may show; a name that is missing may show
    whichever our CA has certified for it. It is asked for each new connection. `shown`: the key that each
    has shown last.
    """

    sslobject_class = AgentLine
    accepted: dict[str, frozenset[str]]
    shown: dict[str, str]


class FrugalTls(sslproto.SSLProtocol):
    """asyncio's TLS, with less memory for each connection: its own keeps 256 KB twice, whatever is read."""

    max_size = 32 * 2**10
    came: Callable[[int], None] = staticmethod(lambda _size: None)

    def buffer_updated(self, nbytes: int) -> None:
        """Say how many bytes came before they are read: of records, which may hold next to nothing, each costs time."""
        self.came(nbytes)
        super().buffer_updated(nbytes)


async def begin_tls(
    line: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    server_name: str,
    came: Callable[[int], None],
) -> None:
    """Shake hands on a connection that is up; `protocol` gets what is read from then on. As `loop.start_tls` does.

    `came` is called with the number of bytes that came, those of TLS among them, before they are read.
    That has no option for how much memory a connection takes. Who is cancelled here has to end `line`.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    secured = FrugalTls(loop, protocol, context, done, server_hostname=server_name)
    secured.came = came
    line.pause_reading()  # it has to know of the connection before anything is read
    line.set_protocol(secured)
    secured.connection_made(line)
    line.resume_reading()
    await done


def client_context(ca_pem: str, identity: Identity) -> AgentTls:
    """Make the context with which the panel calls agents: trusts our CA alone, shows the panel's certificate."""
    context = AgentTls(ssl.PROTOCOL_TLS_CLIENT)
    context.accepted = {}
    context.shown = {}
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_pem)
    use_identity(context, identity)
    return context


def server_context(identity: Identity) -> ssl.SSLContext:
    """Make the context of the panel's https listener."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    use_identity(context, identity)
    return context


def use_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Show `identity` in all new connections of `context`; those that are open stay as they are."""
    # The ssl module reads chains from paths only.
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, (identity.key + identity.certificate).encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)

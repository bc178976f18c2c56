"""TLS contexts from PEM texts. Private keys pass to OpenSSL through anonymous memory, never through a file."""

import os
import ssl

from wgfleet.panel.agents.authority import Identity


def client_context(ca_pem: str, identity: Identity) -> ssl.SSLContext:
    """Make the context with which the panel calls agents: trusts our CA alone, shows the panel's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
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

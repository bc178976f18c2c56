"""Settings of the panel's door: connections that have not shown an API key."""

from pydantic import Field

from wgfleet.panel.settings.fields import Addresses, Group


class DoorSettings(Group):
    """Connections that have not shown a valid API key. Those that have are neither counted nor ended."""

    strangers: int = Field(
        default=256,
        ge=8,
        le=65536,
        description="How many there may be at a time. For each one more, one that is idle is closed.",
    )
    strangers_per_address: int = Field(
        default=32,
        ge=2,
        le=65536,
        description="How many of them from one address; of IPv6, from one /64.",
    )
    handshake_s: float = Field(
        default=5, ge=0.1, le=60, description="Seconds from the connection until its TLS handshake is done."
    )
    request_s: float = Field(
        default=10,
        ge=0.1,
        le=600,
        description="Seconds until the headers of a request are complete: of the first, and of each one after that.",
    )
    answer_s: float = Field(
        default=30,
        ge=1,
        le=600,
        description="Seconds within which a request without a key is sent, answered, and its answer fetched.",
    )
    trusted_proxies: Addresses = Field(
        default=(),
        description="Addresses of reverse proxies. Only their X-Forwarded-For and X-Forwarded-Proto are believed, and "
        "they may have as many connections as all strangers together.",
    )

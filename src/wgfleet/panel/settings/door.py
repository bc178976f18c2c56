"""Settings of the panel's door: connections that have not shown an API key."""

from pydantic import Field

from wgfleet.panel.settings.fields import Addresses, Group


class DoorSettings(Group):
    """Connections without a valid API key; and how much of the API one key may have at a time."""

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
    fetch_s: float = Field(
        default=30,
        ge=1,
        le=600,
        description="Seconds within which a client that has fallen behind must fetch some more of its answer.",
    )
    calls_per_key: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="How many calls of one API key are answered at a time, and a fourth as many changes. Eight times "
        "as many may wait their turn.",
    )
    streams_per_key: int = Field(
        default=64, ge=1, le=65536, description="How many streams of events one API key may have open."
    )
    connections_per_key: int = Field(
        default=256,
        ge=8,
        le=65536,
        description="How many connections one API key may have. For each one more, one that is idle is closed.",
    )
    trusted_proxies: Addresses = Field(
        default=(),
        description="Addresses of reverse proxies. Only their X-Forwarded-For and X-Forwarded-Proto are believed, and "
        "they may have as many connections as all strangers together.",
    )

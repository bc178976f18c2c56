"""Settings of drains, removals and all other operations that move sessions."""

from pydantic import Field

from wgfleet.panel.settings.fields import DAY_S, Group


class DrainSettings(Group):
    """How a node is taken out of a config."""

    grace_s: float = Field(
        default=30,
        ge=0,
        le=DAY_S,
        description="Seconds to wait beyond the record's TTL for clients that cannot be called over. Resolvers and "
        "clients are known to keep a name a little longer than its TTL.",
    )
    takeover_batch: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="Live peers called over at a time. One call must stay well under its time-out.",
    )
    takeover_timeout_s: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="Seconds to wait for the handshakes of a batch. A handshake takes one round trip; a lost packet is "
        "sent again after 5 s, and the next round of the batch catches that.",
    )
    live_s: int = Field(
        default=180,
        ge=1,
        le=DAY_S,
        description="A peer counts as live when its last handshake is no older than this many seconds. WireGuard "
        "rejects a session's keys after 180 s.",
    )
    unreachable_s: float = Field(
        default=10,
        ge=0,
        le=DAY_S,
        description="Seconds that an agent may stay silent before a removal goes on without it; its interface is then "
        "deleted when it returns.",
    )
    flow_copies: bool = Field(
        default=True,
        description="Whether nodes of configs without a backbone are asked every few seconds which TCP connections of "
        "users they carry, so that a download through one that dies ends at once, and does not hang. Nothing of it is "
        "stored; the panel has it in memory.",
    )

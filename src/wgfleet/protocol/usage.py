"""Usage: what the peers of a node have sent and received, as its agent counts it and the panel collects it. Pure.

An agent counts for each peer of a config totals that only grow. A batch says what they are; the panel adds how much
more that is than the last that it knows. So a batch that comes twice, or one that is lost, changes no sum.
"""

from typing import Annotated

from msgspec import Meta, Struct

from wgfleet.protocol.messages import ClaimedConfig, ClaimedKey
from wgfleet.protocol.messages import Moment as Now
from wgfleet.protocol.observed import Count, Moment

HOUR_S = 3600
MAX_ROWS = 1000  # in a batch, which the panel writes in one transaction; what is left is in the next one

Epoch = Annotated[str, Meta(max_length=32, pattern="^[0-9a-z]*$")]


class UsageRow(Struct, frozen=True, array_like=True, gc=False):
    """What a peer had used by a moment (s since the epoch of the agent's clock), in bytes as the node sees them.

    `life` names the counter: one with another number began at 0. A peer has a row for each hour that the panel has not
    acknowledged, in their order.
    """

    public_key: ClaimedKey
    life: Count
    at: Moment
    received: Count
    sent: Count


class UsageRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/usage`: the last batch that the panel has committed; none: empty."""

    epoch: Epoch = ""
    sequence: int = 0


class UsageBatch(Struct, frozen=True):
    """Answer to it: what is not acknowledged. `sequence` grows within an `epoch`; `more`: not all of it is in here."""

    epoch: Epoch
    sequence: Count
    now: Now
    configs: dict[ClaimedConfig, tuple[UsageRow, ...]] = {}
    more: bool = False

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return sum(map(len, self.configs.values()))

"""Quotas: how much of a config's peers a node lets through, said by the panel, kept by the node without it. Pure.

A quota is said against the totals of `protocol.usage`: they only grow, so saying it twice, late, or after a restart of
either side gives nobody anything. `left` counts from what the node's counter `life` had come to at `counted`, in both
directions; where the node counts by another life, from the beginning of that one.
"""

from msgspec import Struct

from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey, parse_public_key

MAX_QUOTAS = 5000  # in a request
ENDLESS = -1


class Quota(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What a peer may still use at this node, in bytes; `ENDLESS`: it has no quota."""

    public_key: PublicKey
    life: int
    counted: int
    left: int

    def ceiling(self, life: int | None) -> int:
        """Return up to which total of the counter `life` the node lets the peer through."""
        return self.left + (self.counted if life == self.life else 0)


class QuotaUpdate(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/quotas`. `whole`: peers of these configs that are not named have no quota."""

    configs: dict[ConfigId, tuple[Quota, ...]] = {}
    whole: bool = False


class QuotasKept(Struct, frozen=True):
    """Answer to it: how many peers have a quota at the node now."""

    peers: int


def check_quotas(update: QuotaUpdate) -> None:
    """Raise `FieldError` unless all keys are well formed."""
    for config_id, quotas in update.configs.items():
        for i, quota in enumerate(quotas):
            parse_public_key(quota.public_key, f"configs.{config_id}[{i}].public_key")

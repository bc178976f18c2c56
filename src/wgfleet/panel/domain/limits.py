"""Limits: the configs and node groups that a caller's rights are about, and no others."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """Ids of what a caller sees and changes: configs with what belongs to them, and node groups with their nodes.

    Ids of what was deleted may be among them: who was limited to a config that is gone sees nothing, never everything.
    """

    configs: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


def kept(configs: Collection[str] | None, groups: Collection[str] | None) -> Limit | None:
    """Return a limit of what a row has of it; None: there is none."""
    if configs is None and groups is None:
        return None
    return Limit(frozenset(configs or ()), frozenset(groups or ()))

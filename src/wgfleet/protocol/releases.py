"""Releases of panel and agents beside each other: which is the older, and what an older agent does without. Pure."""

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from functools import lru_cache

from wgfleet.protocol.features import ALL, OF_WITNESSES, PROTOCOL, PROTOCOL_OF_0_1_0, Feature

WITHOUT: Mapping[Feature, str] = {
    Feature.FEATURES: "it refuses what it does not know",
    Feature.PROBE_SERIES: "other nodes are probed from it once at a time",
    Feature.MUTE: "when it returns after a failover it may take clients back for seconds",
    Feature.ADDRESS_TIMES: (
        "a floating address stays on it when the agent dies, and one that a dead node had comes to it seconds later"
    ),
    Feature.HISTORY: "after a restore it may keep what the database no longer has",
    Feature.REACH: "what users reach through it is not filtered",
    Feature.ROUTED_ADDRESSES: (
        "it gets no floating addresses that a routing daemon announces, and a cloud's are put on its loopback by hand"
    ),
    Feature.TRANSLATED_ADDRESSES: (
        "where a cloud translates floating addresses, clients behind NAT are not called from it, and reconnect in 15 s"
    ),
    Feature.BACKBONE: "its users and those of other nodes do not reach each other, and none are kept apart on it",
    Feature.DRAWN_PEERS: "users of other nodes lose some packets to a user who is moved to it by plan",
    Feature.SETTLED_CALLS: "users who are moved to it by plan may lose packets for 2 s where another one is silent",
    Feature.OPEN_FLOWS: "downloads of users who are moved from it or to it by plan hang where there is no backbone",
    Feature.FLOW_LISTING: "downloads of its users hang when it dies where there is no backbone",
    Feature.RELAY: "a removal cannot have it relay clients that cannot be called, so they are left behind",
    Feature.REVOKED: "certificates of the panel that were revoked are accepted until they expire",
    Feature.USAGE: "what its users send and receive through it is not counted",
    Feature.QUOTA: "its users are stopped at a limit of traffic seconds late, and not at all while the panel is away",
    Feature.SPEED: "its users are held to no speed",
    Feature.RULES: "its users are held to no destination rules",
    Feature.WITNESS: "it can be no witness",
}
"""By feature: what is so on a node whose agent does not have it, for people."""

_NUMBERS = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")


class Release(StrEnum):
    """The release of an agent beside the panel's."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"
    UNKNOWN = "unknown"  # not heard yet, or no version of ours


@lru_cache(256)  # a list of nodes asks for each, and they have few
def compared(agents: str | None, panels: str) -> Release:
    """Say how the version of an agent stands to the panel's. Builds on the way to one release count as that release."""
    theirs, ours = _release(agents), _release(panels)
    if theirs is None or ours is None:
        return Release.UNKNOWN
    if theirs == ours:
        return Release.SAME
    return Release.OLDER if theirs < ours else Release.NEWER


def missing(known: Collection[str], *, witness: bool = False) -> tuple[Feature, ...]:
    """Return the features of this panel that an agent does not have, of which it says that it has those in `known`.

    A `witness` needs no others than those of witnesses.
    """
    return _missing(frozenset(known), OF_WITNESSES if witness else ALL)


def protocol(known: Collection[str]) -> int:
    """Return the protocol that is spoken with an agent."""
    return PROTOCOL if known else PROTOCOL_OF_0_1_0


def warning(agents: str | None, panels: str, known: Collection[str], *, witness: bool = False) -> str | None:
    """Say what the agent's release means for its node, or None where there is nothing to say."""
    release = compared(agents, panels)
    if release is Release.NEWER:
        return f"its agent ({agents}) is newer than the panel ({panels}): upgrade the panel"
    lacks = missing(known, witness=witness)
    if agents is None or (release is not Release.OLDER and not lacks):
        return None
    said = f"its agent ({agents}) is older than the panel ({panels}): upgrade it"
    return f"{said}; until then {', '.join(WITHOUT[feature] for feature in lacks)}" if lacks else said


@lru_cache(256)
def _missing(known: frozenset[str], wanted: frozenset[Feature]) -> tuple[Feature, ...]:
    return tuple(sorted(wanted.difference(known)))


def _release(version: str | None) -> tuple[int, int, int] | None:
    found = _NUMBERS.match(version or "")
    return None if found is None else (int(found[1]), int(found[2]), int(found[3] or 0))

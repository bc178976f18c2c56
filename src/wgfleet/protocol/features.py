"""Features of the protocol beyond 0.1.0, so that panel and agents of two releases work together.

Each side says which features it has: an agent in its status, the panel in the header `FEATURES_HEADER` of each request.
The sender leaves out what the other side does not know: fields of requests, which an agent takes strictly, by
`for_agent`; kinds of watch messages by `for_panel`. New fields of *answers* need no feature: they have a default, and
a panel that does not know them skips them.

A new field of a request: give it a default in its struct (all have `omit_defaults`), tie it here to a feature, and say
in `protocol.releases` what is so without that. One release later every agent knows it, and the line may go.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import NODEFAULT, Struct

from wgfleet.protocol import backbone, desired, destinations, messages, open_flows, quota, reach, relay, usage

PROTOCOL = 2  # 0.1.0 has 1, and does not say so
PROTOCOL_OF_0_1_0 = 1
FEATURES_HEADER = "wgfleet-features"
VERSION_HEADER = "wgfleet-version"
HEARD_HEADER = "wgfleet-heard"  # the `mark` of the last watch message that the panel has read
COUNTERS_HEADER = "wgfleet-counters"  # see `held_back_s`
MOST_HELD_BACK_S = 3600.0
PANEL_HEADER = "wgfleet-panel"  # see `protocol.panel_name`


class Feature(StrEnum):
    """Something that 0.1.0 does not know. The name goes over the wire."""

    FEATURES = "features"  # says what it knows, and skips what it does not
    PROBE_SERIES = "probe_series"  # probes a target several times on one request
    MUTE = "mute"  # says nothing to users before it has heard the panel, where it may have been replaced
    ADDRESS_TIMES = "address_times"  # its kernel has floating addresses for a time; asks first who has one
    HISTORY = "history"  # keeps and reports the history of a generation, and refuses a delta of another
    REACH = "reach"  # filters what users reach
    ROUTED_ADDRESSES = "routed_addresses"  # has floating addresses on loopback, for daemon or cloud
    TRANSLATED_ADDRESSES = (
        "translated_addresses"  # calls from private addresses that a cloud translates to floating ones
    )
    DRAWN_PEERS = "drawn_peers"  # before a planned call has other nodes send here what is for the peer
    RELAY = "relay"  # passes packets of clients on to the node that has them
    REVOKED = "revoked"  # refuses certificates of panels that were revoked
    WITNESS = "witness"  # probes without an interface, where it enrolled as a witness
    USAGE = "usage"  # counts what peers use, and tells it in batches
    QUOTA = "quota"  # stops peers at a number of bytes by itself
    SPEED = "speed"  # holds peers to a speed
    RULES = "rules"  # refuses connections of peers by their destination
    SETTLED_CALLS = "settled_calls"  # names those who answered a call while others are still waited for
    OPEN_FLOWS = "open_flows"  # says which TCP connections of peers it carries, and ends those of peers who come
    FLOW_LISTING = "flow_listing"  # says which TCP connections of all users it carries
    BACKBONE = "backbone"  # has links to the other nodes of a config; keeps users apart where that is wanted


ALL = frozenset(Feature)
NONE: frozenset[Feature] = frozenset()  # what 0.1.0 knows
OF_WITNESSES = frozenset({Feature.FEATURES, Feature.PROBE_SERIES, Feature.REVOKED, Feature.WITNESS})
"""What an agent without WireGuard can do of what it knows: nothing that is about users."""

FIELDS: Mapping[type[Struct], Mapping[str, Feature]] = {
    desired.DesiredInterface: {"history": Feature.HISTORY},
    desired.InterfaceDelta: {"history": Feature.HISTORY, "base_history": Feature.HISTORY},
    desired.InterfaceSettings: {
        "reach": Feature.REACH,
        "mute": Feature.MUTE,
        "backbone": Feature.BACKBONE,
        "rule_sets": Feature.RULES,
    },
    desired.MuteSettings: {},
    desired.FloatingSettings: {
        "ask_first": Feature.ADDRESS_TIMES,
        "routed": Feature.ROUTED_ADDRESSES,
        "bound": Feature.ROUTED_ADDRESSES,
        "translated": Feature.TRANSLATED_ADDRESSES,
    },
    desired.DesiredPeer: {"download": Feature.SPEED, "upload": Feature.SPEED, "rule_set": Feature.RULES},
    destinations.RuleSet: {},
    destinations.DestinationRule: {},
    reach.Reach: {"client_to_client": Feature.BACKBONE},
    backbone.Backbone: {},
    backbone.BackboneNode: {},
    messages.Takeover: {"planned": Feature.DRAWN_PEERS, "settle_s": Feature.SETTLED_CALLS},
    messages.TakeoverPeer: {},
    messages.ProbeRequest: {"tries": Feature.PROBE_SERIES},
    messages.ProbeTarget: {},
    messages.Certificate: {},
    relay.RelayRequest: {},  # as wholes for agents with `RELAY` only
    relay.RelayEnd: {},
    relay.RelayProlongation: {},
    relay.RelayedPeer: {},
    usage.UsageRequest: {},  # as a whole for agents with `USAGE` only
    quota.Quota: {},  # as wholes for agents with `QUOTA` only
    quota.QuotaUpdate: {},
    open_flows.FlowQuestion: {},  # as wholes for agents with `OPEN_FLOWS` only
    open_flows.EndedFlows: {},
    messages.Revoked: {},  # as a whole for agents with `REVOKED` only
}
"""By struct of a request: the fields that 0.1.0 does not know, and the feature that an agent needs for each."""

MESSAGES: Mapping[type[Struct], Feature] = {}
"""The kinds of watch messages that 0.1.0 does not know, and the feature that a panel needs for each."""

M = TypeVar("M")


def known(names: Iterable[str]) -> frozenset[Feature]:
    """Return the features of the other side that this side has too; names of a later release are skipped."""
    texts = set(names)
    return frozenset(feature for feature in Feature if feature.value in texts)


def of_agent(status: messages.AgentStatus) -> frozenset[Feature]:
    """Return the features of an agent that this side has too, and for which it can be asked."""
    found = known(status.features)
    return found & OF_WITNESSES if status.backend == messages.WITNESS else found


def header(features: Iterable[Feature] = ALL) -> str:
    """Write features as the value of `FEATURES_HEADER`."""
    return ",".join(sorted(features))


def from_header(value: str | None) -> frozenset[Feature]:
    """Read the value of `FEATURES_HEADER`; None: 0.1.0 sends none."""
    return known(part.strip() for part in (value or "").split(","))


def held_back_s(value: str | None) -> float:
    """Read the value of `COUNTERS_HEADER`: for how many s the stream may hold back what is only a count of a peer.

    None, and what is no number: not at all. 0.1.0 neither asks for it nor does it.
    """
    try:
        return min(max(0.0, float(value or 0)), MOST_HELD_BACK_S)
    except ValueError:
        return 0.0


def for_agent(request: M, features: Collection[Feature]) -> M:
    """Return a request without the fields that an agent with these features would refuse as unknown."""
    missing = ALL.difference(features)
    return _without(request, missing) if missing else request


def needed(kind: type[Struct], values: Collection[Struct]) -> frozenset[Feature]:
    """Return the features without which an agent would not be sent all that values of a kind say."""
    found = {}
    for name, feature in FIELDS[kind].items():
        default = _default(kind, name)
        found[name] = {feature} if any(getattr(each, name) != default for each in values) else set()
    return frozenset().union(*found.values())


def for_panel(message: Struct, features: Collection[Feature]) -> bool:
    """Tell whether a panel with these features knows this kind of watch message."""
    needed = MESSAGES.get(type(message))
    return needed is None or needed in features


def _without(value: M, missing: Collection[Feature]) -> M:
    """Return `value`, the same object where nothing is to be left out, with unknown fields at their defaults."""
    if isinstance(value, Struct):
        tied = FIELDS.get(type(value), {})
        changes = {}
        for name in value.__struct_fields__:
            before = getattr(value, name)
            after = _default(type(value), name) if tied.get(name) in missing else _without(before, missing)
            if after is not before:
                changes[name] = after
        return msgspec.structs.replace(value, **changes) if changes else value
    if isinstance(value, dict):
        items = {key: _without(item, missing) for key, item in value.items()}
        return value if all(items[key] is item for key, item in value.items()) else items  # type: ignore[return-value]
    if isinstance(value, tuple) and value and not isinstance(value[0], str):
        parts = tuple(_without(item, missing) for item in value)
        return value if all(new is old for new, old in zip(parts, value, strict=True)) else parts  # type: ignore[return-value]
    return value


@cache
def _default(kind: type[Struct], name: str) -> object:
    field = next(field for field in msgspec.structs.fields(kind) if field.name == name)
    if field.default is not NODEFAULT:
        return field.default
    if field.default_factory is NODEFAULT:
        raise TypeError(f"{kind.__name__}.{name} is left out for agents that do not know it, so it needs a default")
    return field.default_factory()

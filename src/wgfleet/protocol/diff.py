"""Comparison of desired and observed state: an ordered plan, and the drift that it repairs, field by field. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from msgspec import Struct

from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import ObservedInterface, ObservedPeer

SECRET = "(secret)"  # noqa: S105 - shown in place of a key
BACKBONE = "backbone"  # what is not as wanted with the links to other nodes
TRANSLATED_FIELD = "floating.translated"  # private addresses, from which only calls are made
NO_IPV6 = "IPv6 is disabled on this machine"
FORWARDING = "forwarding"  # why users' packets do not get from the tunnel to the uplink and back
BFD_FIELD = "floating.bfd"  # what has routers notice late that this machine has died
ROUTING_FIELD = "floating.routing"  # of drift: why routers do not find floating addresses at this machine


class PlanStep(StrEnum):
    """A step of a plan. The order of the members is the order of execution."""

    REMOVE_FLOATING = "remove_floating"  # another node may be waiting for it
    CREATE_LINK = "create_link"
    SET_DEVICE = "set_device"  # private key, listen port
    REMOVE_PEERS = "remove_peers"  # before upserts: an allowed IP may move from one peer to another
    UPSERT_PEERS = "upsert_peers"
    SET_FILTER = "set_filter"  # before the link is up
    SET_MTU = "set_mtu"
    REMOVE_ROUTES = "remove_routes"  # while they are there: the kernel drops them with the link
    REMOVE_ADDRESSES = "remove_addresses"
    ADD_ADDRESSES = "add_addresses"
    SET_LINK = "set_link"  # up or down
    ADD_ROUTES = "add_routes"  # after the link is up: the kernel refuses routes over a link that is down
    SET_MASQUERADE = "set_masquerade"
    ADD_FLOATING = "add_floating"  # last: it attracts the users' packets


class Drift(Struct, frozen=True, gc=False):
    """A field that differs from what is wanted: `field` is dotted (`peers.KEY.allowed_ips`), secrets are not shown."""

    field: str
    desired: str
    observed: str

    def __str__(self) -> str:
        """Describe it in one line, for people."""
        return f"{self.field}: wanted {self.desired}, found {self.observed}"


class InterfacePlan(Struct, frozen=True):
    """Ordered steps that make an interface equal to what is desired; empty when it already is."""

    steps: tuple[PlanStep, ...]
    drift: tuple[Drift, ...]
    remove_peers: tuple[PublicKey, ...] = ()
    upsert_peers: tuple[PublicKey, ...] = ()
    remove_addresses: tuple[str, ...] = ()
    add_addresses: tuple[str, ...] = ()
    remove_routes: tuple[str, ...] = ()
    add_routes: tuple[str, ...] = ()
    remove_floating: tuple[str, ...] = ()
    add_floating: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)


_NOTHING: Mapping[str, str] = MappingProxyType({})


def floating_wanted(settings: InterfaceSettings) -> frozenset[str]:
    """Return the floating addresses that an interface wants: none while it is disabled, since nothing would answer."""
    return frozenset(settings.floating.addresses) if settings.floating is not None and settings.enabled else frozenset()


def harms_no_user(drift: Iterable[Drift]) -> bool:
    """Whether users are served all the same: over IPv4, where the machine has no IPv6; without other nodes' users."""
    return all(
        each.observed == absent(NO_IPV6)
        or each.field.startswith((TRANSLATED_FIELD, BFD_FIELD))
        or each.field.partition(".")[0] in {BACKBONE, FORWARDING}
        for each in drift
    )


def absent(reason: str) -> str:
    """Describe what is not there although it was tried."""
    return f"absent: {reason}"


def diff(
    desired: DesiredInterface,
    observed: ObservedInterface | None,
    withheld: Mapping[str, str] = _NOTHING,
    refused: Mapping[str, str] = _NOTHING,
) -> InterfacePlan:
    """Compare; `observed` None means that there is no such link.

    Counters, endpoints and handshakes are not compared: they belong to the session. `withheld` are floating addresses
    that must not be on this machine now, even if wanted, each with the reason: that is drift which no step repairs.
    So is what `refused` names: fields (`addresses.fd00::1/64`, `routes.10.0.0.0/8`) that the machine would not take,
    with the reason.
    """
    comparison = _Comparison(refused)
    if observed is None:
        comparison.add(PlanStep.CREATE_LINK, Drift("link", "present", "absent"))
    have = observed or ObservedInterface(
        name=desired.settings.name, private_key=None, listen_port=0, addresses=frozenset(), routes=frozenset(),
        mtu=0, up=False, masquerade=False, peers={},
    )  # fmt: skip
    _compare_settings(comparison, desired.settings, have)
    remove_peers, upsert_peers = _compare_peers(comparison, desired.peers, have.peers)
    addresses, routes, floating = _compare_addresses(comparison, desired.settings, have, withheld)
    return InterfacePlan(
        steps=tuple(step for step in PlanStep if step in comparison.steps),
        drift=tuple(comparison.drift),
        remove_peers=remove_peers,
        upsert_peers=upsert_peers,
        remove_addresses=addresses.remove,
        add_addresses=addresses.add,
        remove_routes=routes.remove,
        add_routes=routes.add,
        remove_floating=floating.remove,
        add_floating=floating.add,
    )


class _Comparison:
    """The steps and the drift found so far."""

    def __init__(self, refused: Mapping[str, str]) -> None:
        self.refused = refused
        self.steps: set[PlanStep] = set()
        self.drift: list[Drift] = []

    def add(self, step: PlanStep, *drift: Drift) -> None:
        """Add a step and the drift that it repairs."""
        self.steps.add(step)
        self.drift += drift

    def compare(self, field: str, step: PlanStep, want: object, have: object) -> None:
        """Compare one field."""
        if want != have:
            self.add(step, Drift(field, str(want), str(have)))

    def compare_items(self, field: str, remove: PlanStep, add: PlanStep, items: "_Items") -> None:
        """Take the items of a list that differ."""
        for item in items.remove:
            self.add(remove, Drift(f"{field}.{item}", "absent", "present"))
        for item in items.add:
            if (reason := self.refused.get(f"{field}.{item}")) is not None:
                self.drift.append(Drift(f"{field}.{item}", "present", absent(reason)))
            else:
                self.add(add, Drift(f"{field}.{item}", "present", "absent"))

    def possible(self, field: str, items: "_Items") -> "_Items":
        """Leave out what the machine refused."""
        return items._replace(add=tuple(item for item in items.add if f"{field}.{item}" not in self.refused))


class _Items(NamedTuple):
    """What to remove from a list and what to add to it."""

    remove: tuple[str, ...]
    add: tuple[str, ...]


def _compare_settings(comparison: _Comparison, settings: InterfaceSettings, have: ObservedInterface) -> None:
    if settings.private_key != have.private_key:
        comparison.add(PlanStep.SET_DEVICE, Drift("private_key", SECRET, SECRET))
    comparison.compare("listen_port", PlanStep.SET_DEVICE, settings.listen_port, have.listen_port)
    if settings.mtu is not None:
        comparison.compare("mtu", PlanStep.SET_MTU, settings.mtu, have.mtu)
    comparison.compare("enabled", PlanStep.SET_LINK, settings.enabled, have.up)
    comparison.compare("masquerade", PlanStep.SET_MASQUERADE, settings.masquerade and settings.enabled, have.masquerade)
    comparison.compare("filter", PlanStep.SET_FILTER, settings.reach is not None, have.filtered)


def _compare_peers(
    comparison: _Comparison, want: Mapping[PublicKey, DesiredPeer], have: Mapping[PublicKey, ObservedPeer]
) -> tuple[tuple[PublicKey, ...], tuple[PublicKey, ...]]:
    """Return the peers to remove and those to create or overwrite."""
    remove = tuple(key for key in have if key not in want)
    upsert = tuple(key for key, peer in want.items() if (seen := have.get(key)) is None or not same(peer, seen))
    for key in remove:
        comparison.add(PlanStep.REMOVE_PEERS, Drift(f"peers.{key}", "absent", "present"))
    for key in upsert:
        comparison.add(PlanStep.UPSERT_PEERS, *peer_drift(key, want[key], have.get(key)))
    return remove, upsert


def _compare_addresses(
    comparison: _Comparison, settings: InterfaceSettings, have: ObservedInterface, withheld: Mapping[str, str]
) -> tuple[_Items, _Items, _Items]:
    """Return how addresses, routes and floating addresses differ."""
    # The kernel drops IPv6 addresses when a link goes down, so a disabled interface does not want them back.
    want_addresses = frozenset(
        address for address in settings.addresses if settings.enabled or ":" not in address or address in have.addresses
    )
    # It drops routes as well, so a disabled interface wants none.
    want_routes = frozenset(settings.routes) if settings.enabled else frozenset()
    want_floating = floating_wanted(settings)
    for address in sorted((want_floating & withheld.keys()) - have.floating):
        comparison.drift.append(Drift(f"floating.{address}", "present", withheld[address]))
    addresses = _items(have.addresses, want_addresses)
    routes = _items(have.routes, want_routes)
    floating = _items(have.floating, want_floating - withheld.keys())
    comparison.compare_items("addresses", PlanStep.REMOVE_ADDRESSES, PlanStep.ADD_ADDRESSES, addresses)
    comparison.compare_items("routes", PlanStep.REMOVE_ROUTES, PlanStep.ADD_ROUTES, routes)
    comparison.compare_items("floating", PlanStep.REMOVE_FLOATING, PlanStep.ADD_FLOATING, floating)
    return comparison.possible("addresses", addresses), comparison.possible("routes", routes), floating


def same(desired: DesiredPeer, observed: ObservedPeer) -> bool:
    """Whether a peer is configured as desired."""
    return (
        observed.preshared_key == desired.preshared_key
        and observed.persistent_keepalive == desired.persistent_keepalive
        and observed.allowed_ips == frozenset(desired.allowed_ips)
    )


def peer_drift(key: PublicKey, desired: DesiredPeer, observed: ObservedPeer | None) -> list[Drift]:
    """List each field of a peer that differs from what is wanted."""
    if observed is None:
        return [Drift(f"peers.{key}", "present", "absent")]
    found = []
    want, have = frozenset(desired.allowed_ips), observed.allowed_ips
    if want != have:
        found.append(Drift(f"peers.{key}.allowed_ips", ", ".join(sorted(want)), ", ".join(sorted(have))))
    if desired.preshared_key != observed.preshared_key:
        found.append(Drift(f"peers.{key}.preshared_key", SECRET, SECRET if observed.preshared_key else "absent"))
    if desired.persistent_keepalive != observed.persistent_keepalive:
        wanted, seen = desired.persistent_keepalive, observed.persistent_keepalive
        found.append(Drift(f"peers.{key}.persistent_keepalive", f"{wanted} s", f"{seen} s"))
    return found


def _items(have: frozenset[str], want: frozenset[str]) -> _Items:
    return _Items(remove=tuple(sorted(have - want)), add=tuple(sorted(want - have)))

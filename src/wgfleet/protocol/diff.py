"""Pure comparison of desired and observed: an ordered plan, and the drift it mends, field by field."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct

from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import ObservedInterface, ObservedPeer

SECRET = "(secret)"  # noqa: S105 - what is shown in place of a key


class Step(StrEnum):
    """What a plan may ask for. The order of the members is the order of work."""

    REMOVE_FLOATING = "remove_floating"  # another node may be waiting for it
    CREATE_LINK = "create_link"
    SET_DEVICE = "set_device"  # private key, listen port
    REMOVE_PEERS = "remove_peers"  # before upserts: an allowed IP may move from one peer to another
    UPSERT_PEERS = "upsert_peers"
    SET_MTU = "set_mtu"
    REMOVE_ROUTES = "remove_routes"  # while they are there: the kernel drops them with the link
    REMOVE_ADDRESSES = "remove_addresses"
    ADD_ADDRESSES = "add_addresses"
    SET_LINK = "set_link"  # up or down
    ADD_ROUTES = "add_routes"  # after the link is up: the kernel refuses routes over a link that is down
    SET_MASQUERADE = "set_masquerade"
    ADD_FLOATING = "add_floating"  # last: it calls the users here


class Drift(Struct, frozen=True, gc=False):
    """One field that is not as wanted. `field` is dotted (`peers.KEY.allowed_ips`); secrets are never shown."""

    field: str
    desired: str
    observed: str

    def __str__(self) -> str:
        """Say it in one line, for people."""
        return f"{self.field}: wanted {self.desired}, found {self.observed}"


class Plan(Struct, frozen=True):
    """Ordered work that makes an interface equal to what is desired; empty when it already is."""

    steps: tuple[Step, ...]
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
    """Return the floating addresses that an interface wants: none while it is off, since nobody would answer there."""
    return frozenset(settings.floating.addresses) if settings.floating is not None and settings.enabled else frozenset()


def diff(desired: DesiredInterface, observed: ObservedInterface | None, withheld: Mapping[str, str] = _NOTHING) -> Plan:
    """Compare; `observed` None means that there is no such link.

    Counters, endpoints and handshakes are not compared: they belong to the session. `withheld` are floating addresses
    that must not be on this machine now, whoever wants them, each with the reason: that is drift which no step mends.
    """
    drift: list[Drift] = []
    steps: set[Step] = set()
    settings = desired.settings

    def differs(field: str, step: Step, want: object, have: object, *, secret: bool = False) -> None:
        if want != have:
            steps.add(step)
            drift.append(Drift(field, SECRET if secret else str(want), SECRET if secret else str(have)))

    if observed is None:
        steps.add(Step.CREATE_LINK)
        drift.append(Drift("link", "present", "absent"))
    have = observed or ObservedInterface(
        name=settings.name, private_key=None, listen_port=0, addresses=frozenset(), routes=frozenset(),
        mtu=0, up=False, masquerade=False, peers={},
    )  # fmt: skip
    differs("private_key", Step.SET_DEVICE, settings.private_key, have.private_key, secret=True)
    differs("listen_port", Step.SET_DEVICE, settings.listen_port, have.listen_port)
    if settings.mtu is not None:
        differs("mtu", Step.SET_MTU, settings.mtu, have.mtu)
    differs("enabled", Step.SET_LINK, settings.enabled, have.up)
    differs("masquerade", Step.SET_MASQUERADE, settings.masquerade and settings.enabled, have.masquerade)

    remove_peers = tuple(key for key in have.peers if key not in desired.peers)
    upsert_peers = tuple(
        k for k, p in desired.peers.items() if (seen := have.peers.get(k)) is None or not same(p, seen)
    )
    if remove_peers:
        steps.add(Step.REMOVE_PEERS)
        drift += [Drift(f"peers.{key}", "absent", "present") for key in remove_peers]
    if upsert_peers:
        steps.add(Step.UPSERT_PEERS)
        for key in upsert_peers:
            drift += peer_drift(key, desired.peers[key], have.peers.get(key))

    # The kernel drops IPv6 addresses when a link goes down, so a disabled interface does not want them back.
    want_addresses = frozenset(
        address for address in settings.addresses if settings.enabled or ":" not in address or address in have.addresses
    )
    # It drops routes as well, so a disabled interface wants none.
    want_routes = frozenset(settings.routes) if settings.enabled else frozenset()
    remove_addresses, add_addresses = _both(have.addresses, want_addresses)
    remove_routes, add_routes = _both(have.routes, want_routes)
    remove_floating, add_floating, refused = _floating(settings, have, withheld)
    drift += refused
    for field, step, items, present in (
        ("addresses", Step.REMOVE_ADDRESSES, remove_addresses, True),
        ("addresses", Step.ADD_ADDRESSES, add_addresses, False),
        ("routes", Step.REMOVE_ROUTES, remove_routes, True),
        ("routes", Step.ADD_ROUTES, add_routes, False),
        ("floating", Step.REMOVE_FLOATING, remove_floating, True),
        ("floating", Step.ADD_FLOATING, add_floating, False),
    ):
        for item in items:
            steps.add(step)
            want, seen_as = ("absent", "present") if present else ("present", "absent")
            drift.append(Drift(f"{field}.{item}", want, seen_as))
    return Plan(
        steps=tuple(step for step in Step if step in steps),
        drift=tuple(drift),
        remove_peers=remove_peers,
        upsert_peers=upsert_peers,
        remove_addresses=remove_addresses,
        add_addresses=add_addresses,
        remove_routes=remove_routes,
        add_routes=add_routes,
        remove_floating=remove_floating,
        add_floating=add_floating,
    )


def _floating(
    settings: InterfaceSettings, have: ObservedInterface, withheld: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...], list[Drift]]:
    """Return what to remove and to add, and the drift of what is wanted but must not be there."""
    want = floating_wanted(settings)
    remove, add = _both(have.floating, want - withheld.keys())
    refused = sorted((want & withheld.keys()) - have.floating)
    return remove, add, [Drift(f"floating.{address}", "present", withheld[address]) for address in refused]


def same(desired: DesiredPeer, observed: ObservedPeer) -> bool:
    """Whether a configured peer is as wanted."""
    return (
        observed.preshared_key == desired.preshared_key
        and observed.persistent_keepalive == desired.persistent_keepalive
        and observed.allowed_ips == frozenset(desired.allowed_ips)
    )


def peer_drift(key: PublicKey, desired: DesiredPeer, observed: ObservedPeer | None) -> list[Drift]:
    """Name each field of a peer that is not as wanted; empty when all are."""
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


def _both(have: frozenset[str], want: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(sorted(have - want)), tuple(sorted(want - have))

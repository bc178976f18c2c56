"""The desired state of one WireGuard interface on one node.

A *generation* is the number of a config's desired state. It only grows; an agent that has applied generation g of
an interface refuses anything older. Comparisons hold within one `config_id`: another config of the same name is
another history. Numbers alone do not tell histories apart: after a database was restored from a copy they are given
again. So the panel sends a *history* with each generation, a text that the agent keeps and reports and that only the
panel can read; a delta names that of its base.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from wgfleet.protocol.addresses import (
    parse_address,
    parse_endpoint,
    parse_interface_address,
    parse_network,
    parse_port,
)
from wgfleet.protocol.backbone import Backbone, check_backbone
from wgfleet.protocol.destinations import RuleSet, check_rule_sets
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName, parse_interface_name
from wgfleet.protocol.keys import (
    PresharedKey,
    PrivateKey,
    PublicKey,
    parse_preshared_key,
    parse_private_key,
    parse_public_key,
    public_key_of,
)
from wgfleet.protocol.quantities import check_speed
from wgfleet.protocol.reach import Reach, check_reach
from wgfleet.protocol.reasons import Reason

MIN_IPV6_MTU = 1280  # RFC 8200, section 5: the least an IPv6 link must carry
LEAST_MTU = 576  # what every IPv4 host takes (RFC 791, section 3.1)
MIN_GIVE_UP_S, MAX_GIVE_UP_S = 1.0, 3600.0  # a floating address: below, one lost second would cost it
# After `give_up_after_s` and this, the kernel has taken a floating address off by itself, whatever became of the agent:
# it counts in whole s, of which an agent gives it 2 or more, and is up to 1 s late.
LEASE_MARGIN_S = 3.0
MAX_MTU = 65455  # 65535 less WireGuard's overhead of 80 over IPv6
Keepalive = Annotated[int, Meta(ge=0, le=65535)]
History = Annotated[str, Meta(max_length=200)]


class DesiredPeer(Struct, frozen=True, forbid_unknown_fields=True, gc=False, omit_defaults=True):
    """One peer of an interface; its public key is its key in `peers`. `persistent_keepalive` in s, 0 = off.

    The endpoint is not here: it belongs to the live session, and setting it breaks roaming. `download`, `upload`: how
    fast it may get and send, in bits per second; 0: as fast as it can. `rule_set`: the name of that of the
    interface's sets of rules to which its connections are held; empty: to none.
    """

    allowed_ips: tuple[str, ...]
    preshared_key: PresharedKey | None = None
    persistent_keepalive: Keepalive = 0
    download: int = 0
    upload: int = 0
    rule_set: str = ""


class FloatingSettings(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The public addresses that this node holds for an interface while the panel allows it.

    `addresses` without prefix. An agent that for `give_up_after_s` has heard neither from the panel nor from any of the
    `witnesses` (`ADDRESS:PORT` of the other nodes, which it probes with `probe_key`) removes the addresses, because
    others have them by then. It takes them back only when the panel is back. Without witnesses no other node can have
    them, and they stay. Those in `ask_first` another machine may still have, whom the panel cannot ask: each is taken
    only when nobody on its link answers for it. An agent that hangs or ends loses them by the kernel, `LEASE_MARGIN_S`
    later at most. `routed`: they are put on the loopback link, where the machine's routing daemon finds and announces
    them; who else has one is asked of that daemon, and without a daemon none is taken or kept. It may be so without
    addresses: then the node says whether it could have some. `bound`: they are on the loopback link because a cloud
    leads them here; nobody is asked, and nobody told. `translated`: this machine's own private addresses, to which a
    cloud translates floating ones; calls may be made from them.
    """

    addresses: tuple[str, ...]
    witnesses: tuple[str, ...]
    probe_key: PrivateKey
    give_up_after_s: float
    ask_first: tuple[str, ...] = ()
    routed: bool = False
    bound: bool = False
    translated: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Leave out the key."""
        return f"FloatingSettings(addresses={self.addresses!r}, witnesses={self.witnesses!r})"


class MuteSettings(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """By whom a node finds out that it is cut off, and may have been replaced: then its port sends nothing to anybody.

    `witnesses` are as in `FloatingSettings`, of a node that others can replace.
    """

    witnesses: tuple[str, ...]
    probe_key: PrivateKey

    def __repr__(self) -> str:
        """Leave out the key."""
        return f"MuteSettings(witnesses={self.witnesses!r})"


class InterfaceSettings(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything about an interface but its peers.

    `addresses` with prefix (`10.8.0.1/24`), `routes` are networks behind peers that no address covers, `mtu` in
    bytes (None: the driver's own choice), `masquerade` turns forwarding on and rewrites the source address of what
    leaves the node from the addresses' networks. `enabled=False` takes the link down and keeps the rest. `floating`
    is None where the agent has nothing to do with them, `reach` where users are not filtered,
    `mute` where no other node can take the interface's users over, `backbone` where there are no links to other nodes.
    `rule_sets`: those that peers name.
    """

    name: InterfaceName
    config_id: ConfigId
    private_key: PrivateKey
    listen_port: int
    addresses: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    mtu: int | None = None
    masquerade: bool = False
    enabled: bool = True
    floating: FloatingSettings | None = None
    reach: Reach | None = None
    mute: MuteSettings | None = None
    backbone: Backbone | None = None
    rule_sets: tuple[RuleSet, ...] = ()


class DesiredInterface(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="whole"
):
    """The whole desired state of an interface at a generation. `history` is empty where the panel is of 0.1.0."""

    generation: Generation
    settings: InterfaceSettings
    peers: dict[PublicKey, DesiredPeer]
    history: History = ""


class InterfaceDelta(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="delta", kw_only=True
):
    """What changes between two generations of an interface. `settings` is None where they stay as they are.

    An agent whose applied generation is not `base`, of the history `base_history`, refuses it; the panel then sends the
    whole. `history` is that of `generation`.
    """

    name: InterfaceName
    config_id: ConfigId
    base: Generation
    generation: Generation
    settings: InterfaceSettings | None = None
    upsert: dict[PublicKey, DesiredPeer] = {}
    remove: tuple[PublicKey, ...] = ()
    history: History = ""
    base_history: History = ""


Push = DesiredInterface | InterfaceDelta

UNKNOWN_FIELD = "is not a known field"
_UNKNOWN_OR_MISSING = re.compile(r"Object (?P<kind>contains unknown|missing required) field `(?P<field>[^`]*)`")


def parse_push(body: bytes, name: str) -> Push:
    """Decode and check the body of `PUT /v1/wg/{name}`; raise `FieldError` naming the first wrong field."""
    push = _decode(body)
    if isinstance(push, DesiredInterface):
        peers, where = push.peers, "peers"
        settings: InterfaceSettings | None = push.settings
    else:
        peers, where, settings = push.upsert, "upsert", push.settings
        parse_interface_name(push.name)
        if push.name != name:
            raise FieldError(
                "name", Reason("{push!r} does not match the interface in the path, {name!r}", push=push.name, name=name)
            )
        if push.generation <= push.base:
            raise FieldError(
                "generation",
                Reason("must be above base {base}, not {generation}", base=push.base, generation=push.generation),
            )
        for i, key in enumerate(push.remove):
            parse_public_key(key, f"remove[{i}]")
    if push.generation < 1:
        raise FieldError("generation", Reason("must be 1 or more"))
    if settings is not None:
        if settings.name != name:
            raise FieldError(
                "settings.name",
                Reason("{settings!r} does not match the path, {name!r}", settings=settings.name, name=name),
            )
        check_settings(settings)
    for key, peer in peers.items():
        check_peer(key, peer, f"{where}.{key}")
    check_allowed_ips(peers, where)
    return push


def _decode(body: bytes) -> Push:
    try:
        push: Push = msgspec.json.decode(body, type=Push)
    except msgspec.MsgspecError as error:
        raise field_error(error) from None
    except UnicodeDecodeError:
        raise FieldError("body", Reason("is not UTF-8")) from None
    return push


def check_settings(settings: InterfaceSettings) -> None:
    """Raise `FieldError` unless every value is in range and in canonical form."""
    parse_interface_name(settings.name, "settings.name")
    parse_private_key(settings.private_key, "settings.private_key")
    parse_port(settings.listen_port, "settings.listen_port")
    for i, address in enumerate(settings.addresses):
        field = f"settings.addresses[{i}]"
        _same(parse_interface_address(address, field), address, field)
        if ipaddress.ip_interface(address).is_link_local:
            raise FieldError(
                field, Reason("{address!r} is link-local; the kernel manages those itself", address=address)
            )
    for i, route in enumerate(settings.routes):
        _same(parse_network(route, f"settings.routes[{i}]"), route, f"settings.routes[{i}]")
    check_mtu(settings.mtu, settings.addresses, "settings.mtu")
    if settings.floating is not None:
        check_floating(settings.floating)
    if settings.reach is not None:
        check_reach(settings.reach)
    if settings.mute is not None:
        check_witnesses(settings.mute.witnesses, settings.mute.probe_key, "settings.mute")
    if settings.backbone is not None:
        check_backbone(settings.backbone)
    check_rule_sets(settings.rule_sets)


def check_floating(floating: FloatingSettings, where: str = "settings.floating") -> None:
    """Raise `FieldError` unless addresses and witnesses are canonical, and the addresses usable on a public link."""
    seen: set[str] = set()
    listed = [(f"addresses[{i}]", address) for i, address in enumerate(floating.addresses)]
    for name, address in [*listed, *((f"translated[{i}]", each) for i, each in enumerate(floating.translated))]:
        field = f"{where}.{name}"
        _same(parse_address(address, field), address, field)
        kind = ipaddress.ip_address(address)
        if kind.is_link_local or kind.is_loopback or kind.is_multicast or kind.is_unspecified:
            raise FieldError(
                field,
                Reason("{address} cannot be reached from other networks, so no user could use it", address=address),
            )
        if address in seen:
            raise FieldError(field, Reason("{address} is listed twice", address=address))
        seen.add(address)
    for i, address in enumerate(floating.ask_first):
        if address not in floating.addresses:
            raise FieldError(
                f"{where}.ask_first[{i}]", Reason("{address!r} is not one of the addresses", address=address)
            )
    check_witnesses(floating.witnesses, floating.probe_key, where)
    if not MIN_GIVE_UP_S <= floating.give_up_after_s <= MAX_GIVE_UP_S:
        raise FieldError(
            f"{where}.give_up_after_s",
            Reason(
                "must be {min_give_up_s:.0f} to {max_give_up_s:.0f} s, not {give_up_after_s}",
                min_give_up_s=MIN_GIVE_UP_S,
                max_give_up_s=MAX_GIVE_UP_S,
                give_up_after_s=floating.give_up_after_s,
            ),
        )


def check_witnesses(witnesses: tuple[str, ...], probe_key: PrivateKey, where: str) -> None:
    """Raise `FieldError` unless the witnesses are canonical and the key is one."""
    for i, witness in enumerate(witnesses):
        _same(parse_endpoint(witness, f"{where}.witnesses[{i}]"), witness, f"{where}.witnesses[{i}]")
    parse_private_key(probe_key, f"{where}.probe_key")


def check_allowed_ips(peers: dict[PublicKey, DesiredPeer], where: str = "peers") -> None:
    """Raise `FieldError` if two peers have the same network: WireGuard would give it to the last one only."""
    holders: dict[str, PublicKey] = {}
    for key, peer in peers.items():
        for network in peer.allowed_ips:
            holder = holders.setdefault(network, key)
            if holder != key:
                raise FieldError(
                    f"{where}.{key}.allowed_ips",
                    Reason("{network} is already an allowed IP of peer {holder}", network=network, holder=holder),
                )


def check_not_itself(whole: DesiredInterface, where: str = "peers") -> None:
    """Raise `FieldError` if an interface is its own peer: WireGuard drops that one silently."""
    own = public_key_of(whole.settings.private_key)
    if own in whole.peers:
        raise FieldError(f"{where}.{own}", Reason("is the public key of the interface itself; give the peer's"))


def check_peer(key: PublicKey, peer: DesiredPeer, field: str) -> None:
    """Raise `FieldError` unless the key, the networks and the preshared key are well formed and canonical."""
    parse_public_key(key, field)
    if peer.preshared_key is not None:
        parse_preshared_key(peer.preshared_key, f"{field}.preshared_key")
    for i, network in enumerate(peer.allowed_ips):
        _same(parse_network(network, f"{field}.allowed_ips[{i}]"), network, f"{field}.allowed_ips[{i}]")
    check_speed(peer.download, f"{field}.download")
    check_speed(peer.upload, f"{field}.upload")


def _same(canonical: str, text: str, field: str) -> None:
    if canonical != text:
        raise FieldError(
            field, Reason("{text!r} is not in canonical form; write {canonical}", text=text, canonical=canonical)
        )


def field_error(error: msgspec.MsgspecError) -> FieldError:
    """Turn msgspec's `... - at `$.peers[...].x`` into a field and a detail in our terms."""
    detail, _, place = str(error).partition(" - at `")
    field = place.rstrip("`").removeprefix("$.").removeprefix("$")
    if named := _UNKNOWN_OR_MISSING.fullmatch(detail):
        field = f"{field}.{named['field']}" if field else named["field"]
        detail = UNKNOWN_FIELD if named["kind"] == "contains unknown" else "is required"
    return FieldError(field or "body", detail[:1].lower() + detail[1:])


def apply_delta(whole: DesiredInterface, delta: InterfaceDelta) -> DesiredInterface:
    """Return `whole` with `delta` applied; the caller has checked `delta.base` against `whole.generation`."""
    removed = set(delta.remove)
    peers = {key: peer for key, peer in whole.peers.items() if key not in removed}
    peers.update(delta.upsert)
    settings = whole.settings if delta.settings is None else delta.settings
    return DesiredInterface(generation=delta.generation, settings=settings, peers=peers, history=delta.history)


def tunnels_changed(
    before: Mapping[PublicKey, DesiredPeer], upsert: Mapping[PublicKey, DesiredPeer]
) -> dict[PublicKey, DesiredPeer]:
    """Return those of the peers `upsert` of which WireGuard is to have something else than before."""
    return {
        key: peer for key, peer in upsert.items() if (old := before.get(key)) is None or _tunnel(old) != _tunnel(peer)
    }


def _tunnel(peer: DesiredPeer) -> tuple[object, ...]:
    return peer.allowed_ips, peer.preshared_key, peer.persistent_keepalive


def delta_between(old: DesiredInterface, new: DesiredInterface) -> InterfaceDelta:
    """Return the delta that turns `old` into `new`: `apply_delta(old, delta_between(old, new)) == new`."""
    return InterfaceDelta(
        name=new.settings.name,
        config_id=new.settings.config_id,
        base=old.generation,
        generation=new.generation,
        settings=None if new.settings == old.settings else new.settings,
        upsert={key: peer for key, peer in new.peers.items() if old.peers.get(key) != peer},
        remove=tuple(key for key in old.peers if key not in new.peers),
        history=new.history,
        base_history=old.history,
    )


def check_mtu(mtu: int | None, networks: Iterable[str], field: str) -> None:
    """Raise `FieldError` where links with these addresses or pools cannot have an MTU, in bytes. None: they can."""
    least = MIN_IPV6_MTU if any(":" in network for network in networks) else LEAST_MTU
    if mtu is not None and not least <= mtu <= MAX_MTU:
        beside = Reason(", as a network is IPv6") if least == MIN_IPV6_MTU else ""
        raise FieldError(
            field,
            Reason(
                "must be {least} to {max_mtu} bytes{beside}, not {mtu}",
                least=least,
                max_mtu=MAX_MTU,
                beside=beside,
                mtu=mtu,
            ),
        )

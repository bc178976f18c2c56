"""Plans of imports: what an interface of another program becomes here. They are read, and nothing is written or locked.

The same import again changes nothing: a peer is known by its public key, a config by its name and key.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import msgspec

from wgfleet.imports.fleet import ImportedInterface, ImportedPeer, ImportedTag
from wgfleet.panel import clock
from wgfleet.panel.domain import import_hooks, imports
from wgfleet.panel.domain.fields import one_spelling
from wgfleet.panel.domain.import_choices import ImportChoice
from wgfleet.panel.domain.imports import PeerFate, PlannedPeer
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs, import_checks, import_details, pools, tunnel_networks
from wgfleet.panel.services.fleet import peer_networks, unfinished_peers
from wgfleet.panel.services.fleet.client_settings import ClientSettings
from wgfleet.panel.services.fleet.peer_details import PeerDetails
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.services.fleet.tags import TagChanges
from wgfleet.panel.services.import_details import CarriedOver, ImportDetails
from wgfleet.panel.services.rule_sets import RuleSetChanges
from wgfleet.panel.store import Tx
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.addresses import parse_port
from wgfleet.protocol.reasons import Reason

DEFAULT_ALLOWED = ("0.0.0.0/0", "::/0")


class ImportTarget(NamedTuple):
    """The config that gets the peers; `served`: its networks, with the nodes' own address in each.

    `created`: there is none yet, and this is what it would be.
    """

    config: Config
    served: Mapping[str, str]
    created: bool


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import does. `peers`: all of the source, in its order; `new`: those that are to be made.

    Of each of `new`, `sources` has what it was, and `carried` what it gets beside. `tags`, `rule_sets`: those that are
    to be made.
    `remarks`: sentences about the whole.
    """

    target: ImportTarget
    peers: list[PlannedPeer]
    new: list[PeerSpec]
    sources: list[ImportedPeer]
    carried: list[CarriedOver]
    tags: list[TagChanges]
    rule_sets: list[RuleSetChanges]
    remarks: list[str]

    @property
    def same(self) -> int:
        """How many peers stay as they are."""
        return len(self.peers) - len(self.new)


def parsed_choice(choice: ImportChoice) -> ImportChoice:
    """Return another range and port in canonical form, or name what cannot be one."""
    if choice.listen_port is not None:
        parse_port(choice.listen_port, "listen_port")
    return dataclasses.replace(choice, pools=tuple(pools.parse(choice.pools)) if choice.pools else ())


def existing(tx: Tx, interface: ImportedInterface, name: str, choice: ImportChoice) -> ImportTarget | None:
    """Return the config of that name, None where there is none; refuse one of another key, and a second of its key."""
    config = config_rows.find(tx, name)
    if config is None:
        same = None if interface.public_key is None else config_rows.by_key(tx, interface.public_key)
        if same is not None:
            raise Conflict(
                Reason(
                    "this interface is here already, with its key, as config {name!r}; import into that", name=same.name
                ),
                field="config",
            )
        return None
    if interface.public_key is not None and config.public_key != interface.public_key:
        raise Conflict(
            Reason(
                "config {name!r} has another key than the interface that is imported, so the files of its users would "
                "not work; import into a config of another name",
                name=name,
            ),
            field="config",
        )
    found = target_of(tx, config, created=False)
    other = choice.pools if choice.pools and {*choice.pools} != found.served.keys() else None
    port = choice.listen_port if choice.listen_port not in {None, config.listen_port} else None
    if other or port:
        raise Conflict(
            Reason(
                "config {name!r} is here already, with {pools} and port {port}; import into it as it is, and change it "
                "itself",
                name=name,
                pools=", ".join(found.served),
                port=config.listen_port,
            ),
            field="pools" if other else "listen_port",
        )
    return found


def target_of(tx: Tx, config: Config, *, created: bool) -> ImportTarget:
    """Return a config as the target of an import."""
    networks, servers = configs.networks(tx, [config.id]), pools.servers(tx, [config.id])
    served = dict(zip(networks[config.id], servers[config.id], strict=True))
    return ImportTarget(config, served, created=created)


def plan(
    tx: Tx,
    target: ImportTarget,
    interface: ImportedInterface,
    *,
    tag_colors: Sequence[ImportedTag] = (),
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    may_own: bool = False,
    said: Sequence[str] = (),
) -> ImportPlan:
    """Say what an import does, and refuse what cannot be done.

    `said`: what is known of it already; it comes first where the config is new.
    `may_own`: peers become the devices of users that are called as their owners were.
    """
    known = {} if target.created else _known(tx, target.config, interface)
    taken = {} if target.created else _taken(tx, target.config)
    found = _that_can_be_routed(tx, target, imports.planned(interface, target.served, known, taken), panel_hosts)
    details = ImportDetails(tx, target.config.name, may_own=may_own)
    carried = {each.peer.public_key: details.of(each.peer) for each in found if each.fate is PeerFate.NEW}
    new = [(i, each) for i, each in enumerate(found) if each.fate is PeerFate.NEW]
    specs = [_spec(each, carried[each.peer.public_key], interface) for _, each in new]
    with import_checks.numbered([i for i, _ in new], [spec.name for spec in specs]):
        wanted = import_checks.new_tags(tx, specs, {one_spelling(tag.name): tag.color for tag in tag_colors})
        import_checks.check_new(tx, target.config, target.served, specs, created=target.created, hosts=panel_hosts)
    gets = [carried[each.peer.public_key] for _, each in new]
    effects = import_details.effects(tx, target.config.id, specs, gets, clock.now())
    return ImportPlan(
        target=target,
        peers=[_with_details(each, carried) for each in found],
        new=specs,
        sources=[each.peer for _, each in new],
        carried=gets,
        tags=wanted,
        rule_sets=details.rules.wanted,
        remarks=[*(said if target.created else ()), *effects, *_remarks(interface, target)],
    )


def _that_can_be_routed(
    tx: Tx, target: ImportTarget, found: Sequence[PlannedPeer], panel_hosts: Mapping[str, str]
) -> list[PlannedPeer]:
    """Leave out the networks behind new peers that others have, with a remark on each."""
    wanted = [(each.name, each.peer.networks if each.fate is PeerFate.NEW else ()) for each in found]
    pools = list(target.served) if target.created else None
    refusals = peer_networks.had(tx, target.config, wanted, panel_hosts=panel_hosts, pools=pools)
    planned = []
    for each, why in zip(found, refusals, strict=True):
        kept = tuple(network for network in each.peer.networks if not why.get(network))
        said = [
            Reason("{network} behind it is left out: {reason}", network=network, reason=reason)
            for network, reason in why.items()
            if reason
        ]
        peer = msgspec.structs.replace(each.peer, networks=kept)
        planned.append(dataclasses.replace(each, peer=peer, remarks=(*each.remarks, *said)) if said else each)
    return planned


def _known(tx: Tx, config: Config, interface: ImportedInterface) -> dict[str, str]:
    """Return the names of a config's peers by public key."""
    rows = peer_rows.of_config(tx, config.id)
    wanted = {text for peer in interface.peers for text in (peer.public_key, one_spelling(peer.name))}
    hit = [row.id for row in rows if not wanted.isdisjoint((row.public_key, row.name))]
    unfinished_peers.check_ended(tx, config.id, hit)
    return {row.public_key: row.name for row in rows}


def _taken(tx: Tx, config: Config) -> dict[str, str]:
    names = {row.id: row.name for row in peer_rows.of_config(tx, config.id)}
    held = address_rows.of_peers(tx, None, config.id)
    return {text: names.get(peer_id, peer_id) for peer_id, texts in held.items() for text in texts}


def _spec(planned: PlannedPeer, carried: CarriedOver, interface: ImportedInterface) -> PeerSpec:
    peer = planned.peer
    return PeerSpec(
        planned.name,
        public_key=peer.public_key,
        preshared_key=False,
        addresses=planned.addresses,
        networks=peer.networks,
        keepalive=peer.keepalive if peer.keepalive != interface.keepalive else None,
        enabled=peer.enabled and not carried.off,
        owner_id=carried.owner_id,
        details=PeerDetails(
            carried.notes,
            tuple(one_spelling(tag) for tag in peer.tags),
            _settings(peer, interface),
            {} if carried.rule_set is None else {"rule_set": carried.rule_set},
        ),
    )


def _settings(peer: ImportedPeer, interface: ImportedInterface) -> ClientSettings:
    """Return what the peer's file says and the config does not."""
    own = {
        "client_allowed_ips": (peer.client_allowed_ips, interface.client_allowed_ips or DEFAULT_ALLOWED),
        "dns": (peer.dns, interface.dns),
        "mtu": (peer.mtu, interface.mtu),
    }
    return cast("ClientSettings", {name: value for name, (value, said) in own.items() if value not in {None, said}})


def _with_details(each: PlannedPeer, carried: Mapping[str, CarriedOver]) -> PlannedPeer:
    """Return what becomes of a peer, with what is carried over and what is not."""
    if each.fate is not PeerFate.NEW:
        return each
    own = carried[each.peer.public_key]
    return dataclasses.replace(each, remarks=(*each.remarks, *own.missing), carried_over=own.said)


def _remarks(interface: ImportedInterface, target: ImportTarget) -> list[str]:
    """Say what of an interface is not carried over."""
    said = imports.moved_server(interface, target.served.values()) if target.created else []
    if interface.listen_port is None and target.created:
        said.append(
            Reason(
                "the source has no port of the server: nodes listen on {port}; files that say another need a new one",
                port=target.config.listen_port,
            )
        )
    if interface.public_key is None:
        said.append(
            Reason("the source does not have the server's key: files of users work only if the config's is the same")
        )
    said += import_hooks.translated(interface.hooks)
    others = [peer for peer in interface.peers if peer.endpoint not in {None, interface.endpoint}]
    said += [
        Reason(
            "the file of {name} says {endpoint}, not the config's name",
            name=peer.name or peer.public_key,
            endpoint=peer.endpoint,
        )
        for peer in others
    ]
    return said

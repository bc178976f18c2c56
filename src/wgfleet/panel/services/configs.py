"""WireGuard networks: made, changed, deleted, and their generation counted."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, cast

from wgfleet.panel import clock
from wgfleet.panel.domain import file_names
from wgfleet.panel.domain.client_settings import SETTINGS
from wgfleet.panel.domain.fields import check_range, is_address, may_be_id, parse_dns, parse_networks
from wgfleet.panel.domain.held_settings import HELD
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.placement.place import Strategy
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.keypairs import key_pair_of, new_key_pair
from wgfleet.panel.services import audit, config_ports, generations, held_settings, pools, reach, tunnel_networks, usage
from wgfleet.panel.services.held_settings import HeldChanges
from wgfleet.panel.store import Tx, homes, new_files, sealed
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import Config
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import parse_port
from wgfleet.protocol.desired import check_mtu
from wgfleet.protocol.ids import parse_interface_name
from wgfleet.protocol.reasons import Reason

CLUSTER, INDEPENDENT = "cluster", "independent"
MODES = (CLUSTER, INDEPENDENT)
PLACEMENTS = tuple(Strategy)
_OF_CARDS = re.compile(  # systemd.net-naming-scheme(7); VLANs have the card's name and .NUMBER
    r"((eth|wlan|wwan|usb|ppp|bond|br|docker|lxcbr|podman|virbr)\d+|en[opsx]\w*\d\w*|en[A-Z]\d+)(\.\d+)?"
)
MAX_KEEPALIVE_S = 65535  # `wg set ... persistent-keepalive`
# What an interface on a node is made of; the rest of a config only shows in the files of users.
INTERFACE_SETTINGS = frozenset(
    {
        *("listen_port", "mtu", "masquerade", "enabled", "node_ports", "denied_networks", "reachable_configs"),
        *("client_to_client", "backbone", "backbone_port", "backbone_within_groups"),
    }
)


class ConfigChanges(HeldChanges, total=False):
    """What may change in a config; what is left out stays."""

    listen_port: int
    mtu: int | None
    dns: Sequence[str]
    file_names: str | None
    client_allowed_ips: Sequence[str]
    excluded_networks: Sequence[str]
    keepalive: int
    masquerade: bool
    node_ports: Sequence[str]
    denied_networks: Sequence[str]
    reachable_configs: Sequence[str]
    client_to_client: bool
    backbone: bool
    backbone_port: int | None
    backbone_within_groups: bool
    enabled: bool
    placement: str


@dataclass(frozen=True, slots=True)
class ConfigSpec:
    """A new config. `listen_port` None: the first from 51820 on that no other has. `private_key` None: a new one.

    `server_addresses`: the nodes' own, where they are not the first of a pool.
    """

    name: str
    mode: str
    pools: Sequence[str]
    listen_port: int | None = None
    mtu: int | None = None
    dns: Sequence[str] = ()
    file_names: str | None = None
    client_allowed_ips: Sequence[str] = ("0.0.0.0/0", "::/0")
    excluded_networks: Sequence[str] = ()
    keepalive: int = 25
    masquerade: bool = True
    node_ports: Sequence[str] = ()
    denied_networks: Sequence[str] = ()
    reachable_configs: Sequence[str] = ()
    client_to_client: bool = True
    backbone: bool = False
    backbone_port: int | None = None
    backbone_within_groups: bool = False
    enabled: bool = True
    placement: str = Strategy.LEAST_PEERS
    download_speed: int | None = None
    upload_speed: int | None = None
    rule_set: str | None = None
    server_addresses: Sequence[str] = ()
    private_key: str | None = field(default=None, repr=False)

    @property
    def changeable(self) -> ConfigChanges:
        """Return what may change later; without the port, which may have to be chosen."""
        fixed = {"name", "mode", "pools", "server_addresses", "listen_port", "private_key"}
        return cast(
            "ConfigChanges", {each.name: getattr(self, each.name) for each in fields(self) if each.name not in fixed}
        )


def create(
    tx: Tx,
    vault: Vault,
    actor: str,
    spec: ConfigSpec,
    *,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
) -> Config:
    """Make a config at generation 1. A cluster gets its key pair here, an independent config one for each node.

    `panel_hosts` are the panel's own, each with what it is: no pool may contain one.
    """
    parse_interface_name(spec.name)
    if _OF_CARDS.fullmatch(spec.name):
        raise Invalid(
            Reason(
                "machines call their network cards and bridges {spec!r}; choose another name, such as wg0",
                spec=spec.name,
            ),
            field="name",
        )
    if spec.mode not in MODES:
        raise Invalid(
            Reason("mode must be {modes}, not {mode!r}", modes=" or ".join(MODES), mode=spec.mode), field="mode"
        )
    values = _checked(tx, spec.changeable) | reach.checked(tx, spec.changeable, spec.name)
    networks = pools.parse(spec.pools)
    servers = pools.parse_servers(spec.server_addresses, networks, slices=spec.mode == INDEPENDENT)
    check_mtu(spec.mtu, networks, "mtu")
    if spec.listen_port is not None:
        parse_port(spec.listen_port, "listen_port")
    config_rows.serialize_creation(tx)
    if config_rows.find(tx, spec.name) is not None:
        raise Conflict(
            Reason("a config named {name!r} already exists; choose another name", name=spec.name), field="name"
        )
    pools.check_free(tx, networks, panel_hosts)
    if spec.listen_port is not None:
        config_ports.check_is_free(tx, spec.listen_port)
    config = Config(
        id=clock.new_id(),
        name=spec.name,
        mode=spec.mode,
        listen_port=config_ports.free(tx) if spec.listen_port is None else spec.listen_port,
        **values,
        private_key_sealed=None,
        public_key=None,
        generation=1,
        settings_generation=1,
        oldest_base=0,
        probes_generation=1,
        created_at=clock.now(),
    )
    _check_backbone(tx, config)
    _give_keys(vault, config, spec.private_key)
    config_rows.add(tx, config, [pools.new(config, network, servers.get(network)) for network in networks])
    audit.record(tx, actor, "created", "config", config.id, name=spec.name, mode=spec.mode, pools=networks)
    tx.wake(Topic.CONFIG, config.id)
    return config


def _give_keys(vault: Vault, config: Config, own: str | None) -> None:
    private_key, config.probe_public_key = new_key_pair()
    config.probe_private_key_sealed = sealed.seal(vault, Config.probe_private_key_sealed, config.id, private_key)
    if config.mode == CLUSTER:
        private_key, config.public_key = new_key_pair() if own is None else key_pair_of(own)
        config.private_key_sealed = sealed.seal(vault, Config.private_key_sealed, config.id, private_key)


def get(tx: Tx, reference: str, field: str | None = None) -> Config:
    """Return a config by id or name; `field` named it."""
    config = config_rows.find(tx, reference)
    if config is None:
        raise _no_config(reference, field)
    return config


def id_of(tx: Tx, reference: str, field: str | None = None) -> str:
    """Return the id of a config by id or name, as `get` does, where nothing else of it is wanted; `field` named it."""
    found = config_rows.find_id(tx, reference)
    if found is None:
        raise _no_config(reference, field)
    return found


def _no_config(reference: str, field: str | None = None) -> NotFound:
    return NotFound(
        Reason("there is no config {reference!r}", reference=reference), Hint(HintCode.LIST_CONFIGS), field=field
    )


def resolve(tx: Tx, reference: str) -> str:
    """Return the id of a config by id or name; an id of one that is not there (any more) stands for itself."""
    return reference if may_be_id(reference) else get(tx, reference).id


def page(tx: Tx, after: str | None = None, limit: int = 100, within: Limit | None = None) -> Sequence[Config]:
    """Return configs in the order of creation, starting after the id `after`."""
    return config_rows.page(tx, after, limit, within)


def networks(tx: Tx, config_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the networks of each config's pools."""
    found: dict[str, list[str]] = {config_id: [] for config_id in config_ids}
    for pool in config_rows.pools(tx, config_ids):
        found[pool.config_id].append(pool.network)
    return found


def names(tx: Tx, config_ids: Collection[str]) -> dict[str, str]:
    """Return the names of configs, by id; of those that are gone, none."""
    return config_rows.names(tx, config_ids)


def counts(tx: Tx, config_ids: Collection[str]) -> dict[str, tuple[int, int]]:
    """Return how many nodes and peers each config has."""
    nodes, peers = config_rows.assignment_counts(tx, config_ids), homes.of_configs(tx, config_ids)
    return {config_id: (nodes.get(config_id, 0), peers.get(config_id, 0)) for config_id in config_ids}


def update(tx: Tx, actor: str, config: Config, changes: ConfigChanges) -> Config:
    """Change a config; the generation grows only where its nodes must have something else."""
    if "rule_set" in changes:
        generations.hold(tx, config.id)  # before the set, as all do
    values = _checked(tx, changes) | reach.checked(tx, changes, config.name)
    changed = {name: value for name, value in values.items() if getattr(config, name) != value}
    if not changed:
        return config
    check_mtu(changed.get("mtu"), networks(tx, [config.id])[config.id], "mtu")
    if "listen_port" in changed:
        config_rows.serialize_creation(tx)
        config_ports.check_is_free(tx, changed["listen_port"], config.id)
        group = endpoint_group_rows.get(tx, config.id)
        if group is not None and group.port == config.listen_port:  # another one is that of a router in front
            group.port = changed["listen_port"]
        config_ports.changed(tx, config.id)
    if {"backbone", "backbone_port", "listen_port"} & changed.keys():
        config_rows.serialize_creation(tx)
        _check_backbone(tx, config, changed)
    if INTERFACE_SETTINGS & changed.keys() or ("dns" in changed and _names_nodes(tx, config, changed["dns"])):
        generation = generations.bump(tx, config.id, settings=True)
        if changed.get("enabled") is False:
            config.disabled_generation = generation
    if not set(HELD).isdisjoint(changed):
        held_settings.config_changed(tx, config, rules="rule_set" in changed)
    for name, value in changed.items():
        setattr(config, name, value)
    _note_in_files(tx, config, changed)
    audit.record(tx, actor, "updated", "config", config.id, name=config.name, **changed)
    tx.wake(Topic.CONFIG, config.id)
    return config


def _note_in_files(tx: Tx, config: Config, changed: Collection[str]) -> None:
    """Note whose files say what was changed."""
    if said := frozenset(SETTINGS).intersection(changed):
        new_files.of_config(tx, config.id, said)
    if "listen_port" in changed:
        group = endpoint_group_rows.get(tx, config.id)
        if group is None or group.port == config.listen_port:
            new_files.of_config(tx, config.id, {"endpoint_port"})


def _names_nodes(tx: Tx, config: Config, dns: Sequence[str]) -> bool:
    """Tell whether nodes themselves are, or were, the name servers of users: they open the port for it."""
    own = networks(tx, [config.id])[config.id]
    addresses = [entry for entry in (*dns, *config.dns) if is_address(entry)]
    return any(pools.overlap(pool, address) for pool in own for address in addresses)


def check_deletion(tx: Tx, config: Config) -> None:
    """Raise `Conflict` while a node has a config, or still has to give it up."""
    nodes = config_rows.assigned_node_names(tx, config.id)
    if nodes:
        raise Conflict(
            Reason("config {config!r} is still assigned to {nodes}", config=config.name, nodes=", ".join(nodes)),
            Hint(HintCode.UNASSIGN_NODE, config=config.name),
        )


def delete(tx: Tx, actor: str, config: Config) -> None:
    """Delete a config and its peers; refused while a node has it, or still has to give it up."""
    generations.bump(tx, config.id)
    check_deletion(tx, config)
    _, peers = counts(tx, [config.id])[config.id]
    reach.forget(tx, actor, config)
    usage.leave_all(tx, config.id, clock.now())
    config_rows.delete(tx, config)
    audit.record(tx, actor, "deleted", "config", config.id, name=config.name, peers=peers)


def delete_unused(tx: Tx, actor: str, config: Config) -> bool:
    """Delete a config that has no peers and no nodes; tell whether it was so."""
    unused = counts(tx, [config.id])[config.id] == (0, 0) and not config_rows.assigned_node_names(tx, config.id)
    if unused:
        delete(tx, actor, config)
    return unused


def _checked(tx: Tx, changes: ConfigChanges) -> dict[str, Any]:
    """Return the changes in canonical form, or name the first that is wrong; for those of `reach`, ask there."""
    values: dict[str, Any] = {**changes, **held_settings.checked(tx, changes)}
    if "listen_port" in changes:
        parse_port(changes["listen_port"], "listen_port")
    if changes.get("backbone_port") is not None:
        parse_port(values["backbone_port"], "backbone_port")
    if "dns" in changes:
        values["dns"] = parse_dns(changes["dns"])
    if "client_allowed_ips" in changes:
        values["client_allowed_ips"] = parse_networks(changes["client_allowed_ips"], "client_allowed_ips")
        if not values["client_allowed_ips"]:
            raise Invalid(Reason("give at least one network; 0.0.0.0/0 means everything"), field="client_allowed_ips")
    if "excluded_networks" in changes:
        values["excluded_networks"] = parse_networks(changes["excluded_networks"], "excluded_networks")
    if "placement" in changes and changes["placement"] not in PLACEMENTS:
        wanted = changes["placement"]
        raise Invalid(
            Reason(
                "placement must be one of {placements}, not {wanted!r}", placements=", ".join(PLACEMENTS), wanted=wanted
            ),
            field="placement",
        )
    if "file_names" in changes:
        values["file_names"] = changes["file_names"] or None
        file_names.check_template(values["file_names"] or "{config}", "file_names")
    if "keepalive" in changes:
        check_range(changes["keepalive"], 0, MAX_KEEPALIVE_S, "keepalive", "s")
    return values


def _check_backbone(tx: Tx, config: Config, changed: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Refuse a backbone where there can be none, or not at its ports."""
    if changed.get("backbone", config.backbone) and config.mode == INDEPENDENT:
        raise Conflict(
            Reason("an independent config has no backbone: a peer has another address at each node"), field="backbone"
        )
    config_ports.check_backbone(tx, config, changed)

"""`/api/configs`: WireGuard networks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, cast

from fastapi import status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.held_settings import ChangedHeldSettings, HeldSettingsView, NewHeldSettings, set_here
from wgfleet.panel.api.models import UNCHANGED, After, Limit, Page, Port, Reference, Said, page, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain import backbone as ports
from wgfleet.panel.domain.fields import MAX_LIST, MAX_NETWORKS, dns_warning, pools_warning
from wgfleet.panel.domain.placement.place import Strategy
from wgfleet.panel.services import configs, pools, reach, rule_sets
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.configs import MAX_KEEPALIVE_S, ConfigChanges, ConfigSpec
from wgfleet.panel.services.fleet import backbone, pool_changes
from wgfleet.panel.services.pools import MAX_POOLS
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.desired import LEAST_MTU, MAX_MTU, MIN_IPV6_MTU

router = subject_router("configs")
Mode = Literal["cluster", "independent"]

Mtu = Annotated[int, Field(ge=LEAST_MTU, le=MAX_MTU)]
Keepalive = Annotated[int, Field(ge=0, le=MAX_KEEPALIVE_S)]
Networks = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_NETWORKS)]
DnsEntries = Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=MAX_LIST)]
NodePorts = Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=MAX_LIST, examples=[["udp/53"]])]
ServerAddresses = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_POOLS)]
Placement = Literal["least_peers", "least_load", "nearest_group"]
MTU = f"In bytes, from {MIN_IPV6_MTU} on where a pool is IPv6; null: the driver's default."
NODE_PORTS = (
    "Ports of the node itself that users reach; without them it answers their pings only. Ports of agents are refused: "
    "users never reach one."
)
DENIED_NETWORKS = "Networks that users do not reach through the node's other links, such as its LAN."
REACHABLE_CONFIGS = "Ids or names of other configs whose users they reach through a node that has both."
CLIENT_TO_CLIENT = (
    "Users reach each other, and networks behind peers. false: they are kept apart by nodes whose agents know of it."
)
BACKBONE = (
    "Nodes have links to each other, so that users of different nodes, and networks behind peers, reach each other. "
    "Their firewalls have to let UDP to `backbone_port` in from the other nodes."
)
BACKBONE_PORT = "UDP port of the links between nodes; null: `listen_port` and 1000."
FILE_NAMES = (
    "Template of what files for users are called, of `{config}`, `{peer}` and `{node}`, such as `{config}-{peer}`; "
    "null or empty: after the config, and the node of an independent config. Devices name the interface after it, so "
    "15 ASCII characters at most are made of it."
)
BACKBONE_WITHIN_GROUPS = (
    "Only nodes of one node group have links to each other, and those of none: for more nodes than can all be linked. "
    "Users of different groups do not reach each other then."
)
PLACEMENT = (
    "How a new peer's home is chosen, after the peer's own group. `least_peers`: fewest peers for the node's weight; "
    "`least_load`: the least busy node; `nearest_group`: groups of the same region first."
)
SERVER_ADDRESSES = (
    "The nodes' own addresses in the pools, at most one in each, which no peer gets; in a pool without one: the first. "
    "Of a cluster only."
)
EXCLUDED_NETWORKS = (
    "Networks that files leave out of what they route through the tunnel, such as those of an office; the pools stay. "
    "With `::/0` files have no IPv6 at all, for devices where it is off."
)


class NewConfig(NewHeldSettings):
    """The config to create."""

    name: str = Field(
        description="Name of the config, and of its interface on each node.", max_length=15, examples=["wg0"]
    )
    mode: Mode = Field(
        default="cluster",
        description="`cluster`: one key and one name, every peer on every node. `independent`: own key, endpoint and "
        "slice of the pools for each node.",
    )
    pools: list[Annotated[str, Field(max_length=64)]] = Field(
        description="Networks from which peers get addresses.",
        min_length=1,
        max_length=MAX_POOLS,
        examples=[["10.8.0.0/16", "fd00:8::/64"]],
    )
    server_addresses: ServerAddresses = Field(default=[], description=SERVER_ADDRESSES)
    listen_port: Port | None = Field(
        default=None, description="UDP port on each node; null: the first free one from 51820."
    )
    mtu: Mtu | None = Field(default=None, description=MTU)
    dns: DnsEntries = Field(default=[], description="DNS servers and search domains for clients.")
    client_allowed_ips: Networks = Field(
        default=["0.0.0.0/0", "::/0"], description="Networks that clients route through the tunnel."
    )
    excluded_networks: Networks = Field(default=[], description=EXCLUDED_NETWORKS)
    file_names: str | None = Field(default=None, description=FILE_NAMES)
    keepalive: Keepalive = Field(default=25, description="Interval of client keepalives in seconds; 0 turns them off.")
    masquerade: bool = Field(default=True, description="Nodes forward and masquerade client traffic.")
    node_ports: NodePorts = Field(default=[], description=NODE_PORTS)
    denied_networks: Networks = Field(default=[], description=DENIED_NETWORKS)
    reachable_configs: Networks = Field(default=[], description=REACHABLE_CONFIGS)
    client_to_client: bool = Field(default=True, description=CLIENT_TO_CLIENT)
    backbone: bool = Field(default=False, description=BACKBONE)
    backbone_port: Port | None = Field(default=None, description=BACKBONE_PORT)
    backbone_within_groups: bool = Field(default=False, description=BACKBONE_WITHIN_GROUPS)
    enabled: bool = Field(default=True, description="false: nodes keep the interface but take it down.")
    placement: Placement = Field(default="least_peers", description=PLACEMENT)


class ChangedConfig(ChangedHeldSettings):
    """The fields to change; a field that is left out keeps its value."""

    pools: list[Annotated[str, Field(max_length=64)]] = Field(
        default=UNCHANGED,
        min_length=1,
        max_length=MAX_POOLS,
        description="All pools. One that begins as an earlier one takes its place, larger or smaller, and addresses "
        "stay; of a new one each peer gets an address, which new files have; one left out goes, with its addresses.",
    )
    server_addresses: ServerAddresses = Field(
        default=UNCHANGED,
        description="The nodes' own in pools that are new, or of which no peer has an address; others keep theirs.",
    )
    listen_port: Port = Field(
        default=UNCHANGED, description="UDP port on each node. Users need new files after a change."
    )
    mtu: Mtu | None = Field(default=UNCHANGED, description=MTU)
    dns: DnsEntries = Field(default=UNCHANGED, description="DNS servers and search domains for clients.")
    client_allowed_ips: Networks = Field(
        default=UNCHANGED, description="Networks that clients route through the tunnel."
    )
    excluded_networks: Networks = Field(default=UNCHANGED, description=EXCLUDED_NETWORKS)
    file_names: str | None = Field(default=UNCHANGED, description=FILE_NAMES)
    keepalive: Keepalive = Field(default=UNCHANGED, description="Client keepalive interval in seconds; 0 turns it off.")
    masquerade: bool = Field(default=UNCHANGED, description="Nodes forward and masquerade client traffic.")
    node_ports: NodePorts = Field(default=UNCHANGED, description=NODE_PORTS)
    denied_networks: Networks = Field(default=UNCHANGED, description=DENIED_NETWORKS)
    reachable_configs: Networks = Field(default=UNCHANGED, description=REACHABLE_CONFIGS)
    client_to_client: bool = Field(default=UNCHANGED, description=CLIENT_TO_CLIENT)
    backbone: bool = Field(default=UNCHANGED, description=BACKBONE)
    backbone_port: Port | None = Field(default=UNCHANGED, description=BACKBONE_PORT)
    backbone_within_groups: bool = Field(default=UNCHANGED, description=BACKBONE_WITHIN_GROUPS)
    enabled: bool = Field(default=UNCHANGED, description="false: nodes keep the interface but take it down.")
    placement: Placement = Field(default=UNCHANGED, description=PLACEMENT)


class ConfigView(HeldSettingsView):
    """A config."""

    id: str
    name: str
    mode: Mode
    pools: list[str]
    server_addresses: list[str] = Field(
        description="The nodes' own in each of `pools`; of an independent config none: each node has its own."
    )
    pools_warning: Said | None = Field(description="null: none is a network of the internet.")
    listen_port: int
    mtu: int | None
    dns: list[str]
    dns_warning: Said | None = Field(description="null: devices get a name server, or none is wanted.")
    client_allowed_ips: list[str]
    excluded_networks: list[str]
    file_names: str | None = Field(description="null: after the config, and the node of an independent config.")
    keepalive: int
    masquerade: bool
    node_ports: list[str]
    denied_networks: list[str]
    reachable_configs: list[str] = Field(description="Names of the configs.")
    client_to_client: bool
    client_to_client_on: list[str] = Field(
        description="Names of nodes on which users reach each other although they are not to: upgrade their agents."
    )
    backbone: bool
    backbone_port: int = Field(description="UDP port of the links between nodes, where there are any.")
    backbone_within_groups: bool = Field(description="Whether only nodes of one node group have links to each other.")
    backbone_warning: Said | None = Field(description="null: it has no backbone, or not too many nodes for one.")
    enabled: bool
    placement: Strategy
    public_key: str | None = Field(description="Public key of a cluster; null for an independent config.")
    generation: int = Field(description="Number of the desired state; increases with every change that concerns nodes.")
    nodes: int = Field(description="Number of nodes it is assigned to.")
    peers: int = Field(description="Number of peers.")
    created_at: datetime


def views(tx: Tx, rows: Sequence[Config]) -> list[ConfigView]:
    """Show configs with their pools and counts."""
    ids = [config.id for config in rows]
    networks, counts, servers = configs.networks(tx, ids), configs.counts(tx, ids), pools.servers(tx, ids)
    links = backbone.linked(tx, [config.id for config in rows if config.backbone])
    reachable = reach.names(tx, {other for config in rows for other in config.reachable_configs})
    mixing, held = reach.mixing(tx, rows), set_here(tx, rows)
    return [
        ConfigView(
            id=config.id,
            name=config.name,
            mode=cast("Mode", config.mode),
            pools=networks[config.id],
            server_addresses=servers[config.id] if config.mode == configs.CLUSTER else [],
            pools_warning=pools_warning(networks[config.id]),
            listen_port=config.listen_port,
            mtu=config.mtu,
            dns=config.dns,
            dns_warning=dns_warning(config.dns),
            client_allowed_ips=config.client_allowed_ips,
            excluded_networks=config.excluded_networks,
            file_names=config.file_names,
            keepalive=config.keepalive,
            masquerade=config.masquerade,
            node_ports=config.node_ports,
            denied_networks=config.denied_networks,
            reachable_configs=[reachable[other] for other in config.reachable_configs if other in reachable],
            client_to_client=config.client_to_client,
            client_to_client_on=mixing.get(config.id, []),
            backbone=config.backbone,
            backbone_port=ports.port(config.listen_port, config.backbone_port),
            backbone_within_groups=config.backbone_within_groups,
            backbone_warning=ports.warning(links[config.id]) if config.backbone else None,
            enabled=config.enabled,
            placement=Strategy(config.placement),
            **held[config.id],
            public_key=config.public_key,
            generation=config.generation,
            nodes=counts[config.id][0],
            peers=counts[config.id][1],
            created_at=utc(config.created_at),
        )
        for config in rows
    ]


@router.get("/api/configs", summary="List configs")
def list_configs(panel: ThePanel, caller: Reader, after: After = None, limit: Limit = 100) -> Page[ConfigView]:
    with panel.store.read() as tx:
        return page(configs.page(tx, after, limit + 1, caller.limit), limit, lambda rows: views(tx, rows))


@router.post("/api/configs", status_code=status.HTTP_201_CREATED, summary="Create a config")
def create_config(panel: ThePanel, caller: Writer, body: NewConfig) -> ConfigView:
    """Create a config, on no node yet. Its pools and port must not clash with those of other configs."""
    with panel.store.write() as tx:
        spec = ConfigSpec(**body.model_dump())
        config = configs.create(tx, panel.vault, caller.actor, spec, panel_hosts=panel.hosts())
        return views(tx, [config])[0]


@router.get("/api/configs/{config}", summary="Show a config")
def show_config(panel: ThePanel, _caller: Reader, config: Reference) -> ConfigView:
    with panel.store.read() as tx:
        return views(tx, [configs.get(tx, config)])[0]


def check_named(tx: Tx, caller: Caller, changes: Mapping[str, Any]) -> None:
    """Raise where changes name a config, or a set of rules, that the caller does not see."""
    for i, other in enumerate(changes.get("reachable_configs") or ()):
        limits.check(tx, caller.limit, "config", other, f"reachable_configs[{i}]")
    rule_sets.check_named(tx, caller.limit, changes)


@router.patch("/api/configs/{config}", summary="Change a config")
def update_config(panel: ThePanel, caller: Writer, config: Reference, body: ChangedConfig) -> ConfigView:
    """Push what concerns nodes immediately. Files that users already have are not changed."""
    with panel.store.write() as tx:
        row = configs.get(tx, config)
        change(tx, caller, row, body, panel.hosts())
        return views(tx, [row])[0]


def change(tx: Tx, caller: Caller, config: Config, body: ChangedConfig, panel_hosts: Mapping[str, str]) -> None:
    """Change a config as a caller asked for. `panel_hosts`: the panel's own, of which no pool may contain one."""
    changes = body.given()
    check_named(tx, caller, changes)
    wanted, servers = changes.pop("pools", None), changes.pop("server_addresses", ())
    if wanted is not None or servers:
        pool_changes.change(tx, caller.actor, config, wanted, panel_hosts, servers)
    configs.update(tx, caller.actor, config, cast("ConfigChanges", changes))


@router.delete("/api/configs/{config}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a config")
def delete_config(panel: ThePanel, caller: Writer, config: Reference) -> None:
    """Delete it and its peers. Refused (409) while it is assigned to a node."""
    with panel.store.write() as tx:
        configs.delete(tx, caller.actor, configs.get(tx, config))

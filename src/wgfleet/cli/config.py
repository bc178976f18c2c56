"""`wgfleet config`: WireGuard networks, their nodes and endpoint."""

from typing import Annotated

import typer

from wgfleet.cli import speeds
from wgfleet.cli.arguments import Config, Node
from wgfleet.cli.asking import DryRun, ask
from wgfleet.cli.client import Client, Document, given, items, panel, part
from wgfleet.cli.config_health import (
    first_look_warnings,
    forwarding_warnings,
    health,
    health_approve,
    owed_warnings,
    pause,
    resume,
    unproven_forwarding,
    warn_of_no_failover,
)
from wgfleet.cli.config_probe_keys import rotate_probe_keys
from wgfleet.cli.config_public_port import port_warnings, public_port, warn_of_ports
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.deleting import deleted
from wgfleet.cli.endpoint import endpoint, endpoint_delete
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, age_cell, say, show_json, show_table, text
from wgfleet.cli.speeds import Download, RuleSet, Upload
from wgfleet.cli.tree import commands
from wgfleet.cli.waiting import RelayHours, Wait, ask_about_departure, show_departures, show_operation

app = commands()
COLUMNS = ("name", "pools", "nodes", "peers", "listen_port", "mode", "enabled")
CAPACITY_COLUMNS = ("node_name", "homes", "live", "load", "capacity", "headroom", "busy", "if_it_dies")
NODE_COLUMNS = ("node", "phase", "health", "connected", "forwards", "peers", "applied", "summary")

Port = Annotated[int | None, typer.Option("--listen-port", help="UDP port on each node.")]
Servers = Annotated[
    list[str] | None,
    typer.Option("--server-address", help="The nodes' own address in a pool, if not its first; repeatable."),
]
Mtu = Annotated[int | None, typer.Option(help="In bytes.")]
Dns = Annotated[list[str] | None, typer.Option("--dns", help="DNS server or search domain; repeatable.")]
AllowedIps = Annotated[
    list[str] | None, typer.Option("--client-allowed-ip", help="Network that clients route here; repeatable.")
]
Excluded = Annotated[
    list[str] | None, typer.Option("--exclude", help="Network that files leave out; repeatable; '': none.")
]
Keepalive = Annotated[int | None, typer.Option(help="Client keepalive in seconds; 0: off.")]
Masquerade = Annotated[bool | None, typer.Option("--masquerade/--no-masquerade", help="Nodes masquerade clients.")]
NodePorts = Annotated[
    list[str] | None,
    typer.Option(
        "--node-port", help="Port of the nodes that users reach (udp/53), never an agent's; repeatable; '': none."
    ),
]
DeniedNetworks = Annotated[
    list[str] | None, typer.Option("--deny-network", help="Network that users do not reach; repeatable; '': none.")
]
ReachableConfigs = Annotated[
    list[str] | None, typer.Option("--reach-config", help="Config whose users they reach; repeatable; '': none.")
]
ClientToClient = Annotated[
    bool | None, typer.Option("--client-to-client/--no-client-to-client", help="Users reach each other.")
]
Backbone = Annotated[
    bool | None, typer.Option("--backbone/--no-backbone", help="Users of different nodes reach each other, by links.")
]
BackbonePort = Annotated[int | None, typer.Option("--backbone-port", help="UDP port of the links between nodes.")]
FileNames = Annotated[
    str | None, typer.Option(help="What files are called, such as {config}-{peer}; '' for after the config.")
]
BackboneWithinGroups = Annotated[
    bool | None,
    typer.Option(
        "--backbone-within-groups/--backbone-everywhere", help="Whether only nodes of one node group have links."
    ),
]
Placement = Annotated[str | None, typer.Option(help="least_peers, least_load or nearest_group.")]
Enabled = Annotated[bool | None, typer.Option("--enable/--disable", help="Take interfaces up or down.")]


app.command()(endpoint)
app.command("endpoint-delete")(endpoint_delete)
app.command()(health)
app.command("health-approve")(health_approve)
app.command()(pause)
app.command()(resume)
app.command("public-port")(public_port)
app.command("rotate-probe-keys")(rotate_probe_keys)


@app.command("list")
@listed(*COLUMNS, wide=("generation", "id"))
def list_configs(client: Client) -> ListResult:
    """List configs."""
    return ListResult(client.all("/api/configs"))


@app.command()
def show(config: Config, *, as_json: AsJson = False) -> None:
    """Show a config."""
    with panel() as client:
        show_fields(client.get(f"/api/configs/{part(config)}"), as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name, and that of the interface on nodes, as wg0.")],
    *,
    pool: Annotated[list[str], typer.Option("--pool", help="Address pool, IPv4 or IPv6; repeatable.")],
    mode: Annotated[str, typer.Option(help="cluster: one key for all nodes; independent: one each.")] = "cluster",
    server_address: Servers = None,
    listen_port: Port = None,
    mtu: Mtu = None,
    dns: Dns = None,
    client_allowed_ip: AllowedIps = None,
    exclude: Excluded = None,
    file_names: FileNames = None,
    keepalive: Keepalive = None,
    masquerade: Masquerade = None,
    node_port: NodePorts = None,
    deny_network: DeniedNetworks = None,
    reach_config: ReachableConfigs = None,
    client_to_client: ClientToClient = None,
    backbone: Backbone = None,
    backbone_port: BackbonePort = None,
    backbone_within_groups: BackboneWithinGroups = None,
    placement: Placement = None,
    download: Download = None,
    upload: Upload = None,
    rule_set: RuleSet = None,
    as_json: AsJson = False,
) -> None:
    """Create a config."""
    body = given(
        server_addresses=server_address,
        listen_port=listen_port,
        mtu=mtu,
        dns=dns,
        client_allowed_ips=client_allowed_ip,
        excluded_networks=items(exclude),
        file_names=file_names,
        keepalive=keepalive,
        masquerade=masquerade,
        node_ports=items(node_port),
        denied_networks=items(deny_network),
        reachable_configs=items(reach_config),
        client_to_client=client_to_client,
        backbone=backbone,
        backbone_port=backbone_port,
        backbone_within_groups=backbone_within_groups,
        placement=placement,
        **speeds.body(download, upload, rule_set),
    )
    with panel() as client:
        made = client.call("POST", "/api/configs", {"name": name, "mode": mode, "pools": pool, **body})
        show_fields(made, as_json=as_json)


@app.command()
def update(
    config: Config,
    *,
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", help="All address pools; a larger one that begins alike takes the place of one."),
    ] = None,
    add_pool: Annotated[
        list[str] | None, typer.Option("--add-pool", help="One more pool: each peer gets an address of it; repeatable.")
    ] = None,
    server_address: Servers = None,
    listen_port: Port = None,
    mtu: Mtu = None,
    dns: Dns = None,
    client_allowed_ip: AllowedIps = None,
    exclude: Excluded = None,
    file_names: FileNames = None,
    keepalive: Keepalive = None,
    masquerade: Masquerade = None,
    node_port: NodePorts = None,
    deny_network: DeniedNetworks = None,
    reach_config: ReachableConfigs = None,
    client_to_client: ClientToClient = None,
    backbone: Backbone = None,
    backbone_port: BackbonePort = None,
    backbone_within_groups: BackboneWithinGroups = None,
    placement: Placement = None,
    download: Download = None,
    upload: Upload = None,
    rule_set: RuleSet = None,
    enabled: Enabled = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Change a config; options that are not given keep their values."""
    body = given(
        server_addresses=server_address,
        listen_port=listen_port,
        mtu=mtu,
        dns=dns,
        client_allowed_ips=client_allowed_ip,
        excluded_networks=items(exclude),
        file_names=file_names,
        keepalive=keepalive,
        masquerade=masquerade,
        node_ports=items(node_port),
        denied_networks=items(deny_network),
        reachable_configs=items(reach_config),
        client_to_client=client_to_client,
        backbone=backbone,
        backbone_port=backbone_port,
        backbone_within_groups=backbone_within_groups,
        placement=placement,
        enabled=enabled,
        pools=pool,
        **speeds.body(download, upload, rule_set),
    )
    with panel() as client:
        if add_pool:
            body["pools"] = [*(pool or client.get(f"/api/configs/{part(config)}")["pools"]), *add_pool]
        ask(client, f"/api/configs/{part(config)}", body, yes=yes, dry_run=dry_run)
        changed = client.change(f"/api/configs/{part(config)}", body)
        show_fields(changed, as_json=as_json)


@app.command()
def delete(config: Config, *, yes: Yes = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Delete a config that is assigned to no node, and its peers."""
    with panel() as client:
        path = f"/api/configs/{part(config)}"
        ask(client, path, None, yes=yes, dry_run=dry_run)
        client.call("DELETE", path)
    deleted(f"config {config} was deleted", "config", config, as_json=as_json, err=True)


@app.command()
@listed(*NODE_COLUMNS, wide=("public_port", "public_backbone_port", "node_id"))
def nodes(client: Client, config: Config) -> ListResult:
    """List the nodes of a config; `applied`: the generation of each, and the desired one.

    `forwards`: whether a packet of a user's address got to the uplink and back; empty: not tried.
    """
    found = client.all(f"/api/configs/{part(config)}/nodes")
    return ListResult(
        found,
        [_node(each) for each in found],
        warnings=[
            *first_look_warnings(found),
            *port_warnings(found),
            *forwarding_warnings(found),
            *unproven_forwarding(found),
            *owed_warnings(found),
        ],
    )


def _node(node: Document) -> Document:
    applied, wanted = node["applied_generation"], node["generation"]
    row = {**node, "node": node["node_name"]}
    row["applied"] = str(wanted) if applied == wanted else f"{applied} of {wanted}"
    row["forwards"] = None if node.get("forwarding") is None else node["forwarding"]["state"]
    if node["phase"] == "joining" and node["health"] == "serving":
        row["health"] = None  # nobody judges it yet
    elif node["health"] != "serving":
        row["summary"] = f"{node['health_reason']}; {node['summary']}"
    if node["drift"]:
        row["summary"] += f" (differs: {', '.join(node['drift'])})"
    return row


@app.command()
@listed("name", "nodes", "since", "reason")
def revocations(client: Client, config: Config) -> ListResult:
    """List peers that were deleted, disabled or got new keys, and that a node may still let in."""
    found = client.all(f"/api/configs/{part(config)}/revocations")
    rows = [{**each, "since": age_cell(each["since"]), "reason": "; ".join(each["reasons"])} for each in found]
    return ListResult(found, rows)


@app.command()
def capacity(config: Config, *, as_json: AsJson = False) -> None:
    """Show the capacity of a config's nodes, and the effect of losing one.

    homes, load: peers at home on it, of this config and of all; live: with a session now; busy: how much of the
    machine is in use; if it dies: how many peers each other node gets, if others take over by themselves.
    """
    with panel() as client:
        found = client.get(f"/api/configs/{part(config)}/capacity")
    if as_json:
        show_json(found)
        return
    rows = [{**node, "busy": _share(node["busy"]), "if_it_dies": _if_it_dies(node)} for node in found["nodes"]]
    show_table(rows, CAPACITY_COLUMNS)
    for warning in found["warnings"]:
        say(f"warning: {warning}", err=True)
    warn_of_no_failover(found["nodes"])


def _if_it_dies(node: Document) -> object:
    """Return how many peers each other node gets, or that none does; why not is a warning of its own."""
    return "nobody takes over" if node.get("no_failover") else node["if_it_dies"]["gained"]


def _share(part_of_one: float | None) -> str | None:
    return None if part_of_one is None else f"{part_of_one:.0%}"


@app.command()
def assign(
    config: Config,
    node: Node,
    *,
    public_port: Annotated[
        int | None, typer.Option(help="UDP port at which a router in front of the node forwards to it.")
    ] = None,
    public_backbone_port: Annotated[
        int | None, typer.Option(help="That at which it forwards to the node's end of the backbone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Assign a node to a config."""
    body = {"node_id": node, **given(public_port=public_port, public_backbone_port=public_backbone_port)}
    with panel() as client:
        made = client.call("POST", f"/api/configs/{part(config)}/nodes", body)
    if as_json:
        show_json(made)
        return
    say(f"{made['config_name']} on {made['node_name']}: {made['phase']}; it serves once its agent has everything:")
    say(f"  wgfleet config health {made['config_name']}")
    warn_of_ports([made])
    warn_of_no_failover([made])


@app.command()
def unassign(
    config: Config,
    node: Node,
    *,
    wait: Wait = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Even if too few nodes or too little room is left, or live clients are cut off."),
    ] = False,
    relay_hours: RelayHours = 0.0,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Remove a node from a config; its peers and live sessions move to the others. With --force it asks first."""
    with panel() as client:
        if dry_run:
            show_departures(client, [config], node, relay_hours, as_json=as_json)
            return
        if force and not yes:
            ask_about_departure(client, config, node, relay_hours)
        operation = client.call(
            "DELETE", f"/api/configs/{part(config)}/nodes/{part(node)}", force=force, relay_s=relay_hours * 3600
        )
        if operation["finished_at"] is not None:  # the one that removed it, whose repetition does nothing
            ended = text(operation["finished_at"])
            say(f"{config} is not assigned to {node} any more; this is its removal, which ended {ended}", err=True)
        show_operation(client, operation, wait=wait, as_json=as_json)


@app.command()
@listed("name", "endpoint", "reach")
def clients(
    client: Client,
    config: Config,
    node: Node,
    *,
    reach: Annotated[str | None, typer.Option(help="Only those that other nodes can have so, such as silent.")] = None,
) -> ListResult:
    """List who is live on a node, and whether other nodes can have them."""
    return ListResult(client.all(f"/api/configs/{part(config)}/nodes/{part(node)}/clients", reach=reach))


@app.command()
def rebalance(
    config: Config,
    *,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Redistribute the peers and live sessions of a config over its nodes."""
    with panel() as client:
        operation = client.call("POST", f"/api/configs/{part(config)}/rebalance")
        show_operation(client, operation, wait=wait, as_json=as_json)

"""`wgfleet node`: servers that run the agent."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from wgfleet.cli import completion, node_log, watching
from wgfleet.cli.arguments import Node
from wgfleet.cli.asking import DryRun, ask
from wgfleet.cli.client import Client, Document, given, panel, part
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.deleting import deleted
from wgfleet.cli.fields import show_thing
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, duration, say, show_json, text
from wgfleet.cli.tree import commands
from wgfleet.cli.waiting import RelayHours, Wait, ended, report, require_success, show_departures
from wgfleet.cli.watching import Watch

app = commands()
COLUMNS = ("name", "endpoints", "health", "connected", "cordoned", "configs", "peers", "agent", "summary")
FOR_PROGRAMS = {"agent_features", "agent_protocol"}
WITH_WITNESSES = ("name", "role", *COLUMNS[1:])
AFTER_JOINING = """\
  wgfleet agent run    # or, where its unit is installed: systemctl enable --now wgfleet-agent

No wgfleet there yet? Run `script/install agent` there in a checkout of it, as root (docs/agent.md)."""
AFTER_JOINING_A_WITNESS = """\
  systemctl enable --now wgfleet-witness

That is as root, where `script/install witness` was run in a checkout of wgfleet (docs/agent.md). As any user, without
the unit: the command with --state-dir of a directory of yours, then `wgfleet agent run --witness --state-dir ...`."""

Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint", help="Address that clients reach; repeatable. Or one name, whose addresses are followed."
    ),
]
AgentHost = Annotated[str | None, typer.Option(help="Host of its agent, if not the first endpoint.")]
AgentPort = Annotated[int | None, typer.Option(help="TCP port of its agent.")]
Weight = Annotated[float | None, typer.Option(help="Share of peers relative to other nodes.")]
Capacity = Annotated[int | None, typer.Option(help="Maximum number of peers.")]
Bandwidth = Annotated[int | None, typer.Option("--bandwidth-mbps", help="Capacity of its uplink, in Mbit/s.")]
NodeGroup = Annotated[
    str | None,
    typer.Option(help="Id or name of its node group.", autocompletion=completion.names("/api/node-groups")),
]


@app.command("list")
@listed(*COLUMNS, wide=("role", "agent_host", "id"))
def list_nodes(client: Client) -> ListResult:
    """List nodes."""
    found = client.all("/api/nodes")
    rows = [
        {
            **node,
            "role": "witness" if node.get("witness") else "node",
            "agent": _agent(node),
            "summary": _summary(node),
            "endpoints": [*filter(None, [node.get("endpoint_name")]), *node["endpoint_addresses"]],
        }
        for node in found
    ]
    warnings = [
        each for node in found for each in _warnings(node, "endpoint_warning", "witness_warning", "agent_warning")
    ]
    return ListResult(found, rows, WITH_WITNESSES if any(node.get("witness") for node in found) else None, warnings)


def _warnings(node: Document, *fields: str) -> list[str]:
    return [f"{node['name']}: {node[field]}" for field in fields if node.get(field)]


def _warn(node: Document, *fields: str) -> None:
    for each in _warnings(node, *fields):
        say(f"warning: {each}", err=True)


def _summary(node: Document) -> str:
    """Return what a node's last cycle did, after why one of its configs is not well: that is about all of them."""
    if node.get("health") in {None, "serving"}:
        return str(node["summary"])
    return f"{node['health_config']}: {node['health_reason']}; {node['summary']}"


def _agent(node: Document) -> str:
    """Return an agent's version, marked where it is not the panel's."""
    release = node.get("agent_release")
    mark = f" ({release})" if release in {"older", "newer"} else ""
    return f"{node['agent_version'] or '-'}{mark}"


@app.command()
def show(node: Node, *, as_json: AsJson = False) -> None:
    """Show a node."""
    with panel() as client:
        _print(client, client.get(f"/api/nodes/{part(node)}"), as_json=as_json)


def _print(client: Client, node: Document, *, as_json: bool) -> None:
    show_thing(client, node if as_json else _shown(node), as_json=as_json)


def _shown(node: Document) -> Document:
    """Return a node without what programs ask for, and its load in words."""
    shown = {name: value for name, value in node.items() if name not in FOR_PROGRAMS}
    load = node.get("load")
    if load:
        shares = {"processors": "cpu", "memory": "memory", "bandwidth": "bandwidth"}
        shown["load"] = ", ".join(
            f"{word} {load[name]:.0%}" for word, name in shares.items() if load.get(name) is not None
        )
    return shown


@app.command()
def logs(
    node: Node,
    *,
    lines: Annotated[int, typer.Option(min=1, max=node_log.MOST, help="Maximum number of lines.")] = 100,
    watch: Watch = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="And lines that come from now on, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a node's agent has logged last; the panel asks it now."""
    if follow and watch:
        raise typer.BadParameter("give --follow or --watch, not both")
    with panel() as client:
        if follow:
            node_log.follow(client, node, lines, as_json=as_json)
        else:
            watching.draw(lambda: node_log.show(client, node, lines, as_json=as_json), watch=watch)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new node.")],
    endpoint: Endpoints = None,
    *,
    agent_host: AgentHost = None,
    agent_port: AgentPort = None,
    weight: Weight = None,
    capacity: Capacity = None,
    bandwidth_mbps: Bandwidth = None,
    group: NodeGroup = None,
    witness: Annotated[
        bool,
        typer.Option(
            "--witness", help="A machine without WireGuard that only looks at nodes; give --agent-host, no --endpoint."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a node, and print the command that joins it."""
    body = _places(endpoint or []) | given(
        agent_host=agent_host,
        agent_port=agent_port,
        weight=weight,
        capacity=capacity,
        bandwidth_mbps=bandwidth_mbps,
        group=group,
        witness=witness or None,  # a panel that knows none of them refuses the field, and only then gets it
    )
    with panel() as client:
        node = client.call("POST", "/api/nodes", {"name": name, **body})
        joining = client.call("POST", f"/api/nodes/{node['id']}/join-token")
        if as_json:
            show_json({**node, "join": joining})
            return
        _warn(node, "endpoint_warning", "private_endpoint_warning")
        if witness:
            say(f"witness {name} is created. On that machine, {_within(joining)}:\n")
            say(f"  runuser -u wgfleet-witness -- {joining['command']}")
            say(AFTER_JOINING_A_WITNESS)
            _warn_of_line(joining)
            return
        say(f"node {name} is created. On the server, as root, {_within(joining)}:\n")
        say(f"  {joining['command']}")
        say(AFTER_JOINING)
        _warn_of_line(joining)


def _places(endpoints: list[str]) -> Document:
    """Return where a node is as the API has it: addresses, or one name."""
    if len(endpoints) == 1 and _is_name(endpoints[0]):
        return {"endpoint_name": endpoints[0]}
    return {"endpoint_addresses": endpoints}


def _is_name(text: str) -> bool:
    """Tell whether a text is meant as a name, rather than as an address that is mistyped."""
    return ":" not in text and "/" not in text and not text.replace(".", "").isdigit()


@app.command()
def join(node: Node, *, as_json: AsJson = False) -> None:
    """Print a new command to join a node's agent; it works once."""
    with panel() as client:
        joining = client.call("POST", f"/api/nodes/{part(node)}/join-token")
        if as_json:
            show_json(joining)
            return
        if client.get(f"/api/nodes/{part(node)}")["joined"]:
            say(f"{node} has joined already; the machine that runs this takes its place.", err=True)
        say(f"On the server, as root, {_within(joining)}, once:\n", err=True)
        say(joining["command"])
        _warn_of_line(joining)


def _warn_of_line(joining: Document) -> None:
    if joining.get("warning"):
        say(f"warning: {joining['warning']}", err=True)


def _within(joining: Document) -> str:
    ends = joining["expires_at"]
    left = duration((datetime.fromisoformat(ends) - datetime.now(UTC)).total_seconds() + 1)
    return f"within {left} (before {text(ends)})"


@app.command()
def update(
    node: Node,
    *,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    endpoint: Endpoints = None,
    agent_host: AgentHost = None,
    agent_port: AgentPort = None,
    weight: Weight = None,
    capacity: Capacity = None,
    bandwidth_mbps: Bandwidth = None,
    group: NodeGroup = None,
    force: Annotated[
        bool, typer.Option("--force", help="Use new endpoints at once, whether the node answers there or not.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Change a node; options that are not given keep their values."""
    body = given(
        name=name,
        agent_host=agent_host,
        agent_port=agent_port,
        weight=weight,
        capacity=capacity,
        bandwidth_mbps=bandwidth_mbps,
        group=group,
    )
    with panel() as client:
        if endpoint:
            body |= _places(endpoint)
            if client.get(f"/api/nodes/{part(node)}").get("endpoint_name") is not None:
                body.setdefault("endpoint_name", None)
        ask(client, f"/api/nodes/{part(node)}", body, yes=yes, dry_run=dry_run, force=force)
        changed = client.change(f"/api/nodes/{part(node)}", body, force=force or None)
        _print(client, changed, as_json=as_json)
    if not as_json:
        if changed.get("endpoint_name") and changed["agent_host"] in changed["endpoint_addresses"]:
            say(
                f"the panel still calls its agent at {changed['agent_host']}; with --agent-host "
                f"{changed['endpoint_name']} that follows as well",
                err=True,
            )
        if waiting := changed.get("next_endpoint_addresses"):
            say(f"used once the node answers there: {', '.join(waiting)}; at once with --force", err=True)


@app.command()
def delete(
    node: Node,
    *,
    force: Annotated[bool, typer.Option("--force", help="Delete even if interfaces stay on it.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete a node that is assigned to no config."""
    with panel() as client:
        ask(client, f"/api/nodes/{part(node)}", None, yes=yes, dry_run=dry_run, force=force)
        client.call("DELETE", f"/api/nodes/{part(node)}", force=force)
    deleted(f"node {node} was deleted", "node", node, as_json=as_json, err=True)


@app.command()
def cordon(node: Node, *, as_json: AsJson = False) -> None:
    """Exclude a node from new placements."""
    with panel() as client:
        _print(client, client.call("POST", f"/api/nodes/{part(node)}/cordon"), as_json=as_json)


@app.command()
def uncordon(node: Node, *, as_json: AsJson = False) -> None:
    """Allow new placements and stop drains; `config rebalance` moves peers back."""
    with panel() as client:
        _print(client, client.call("POST", f"/api/nodes/{part(node)}/uncordon"), as_json=as_json)


@app.command()
def drain(
    node: Node,
    *,
    wait: Wait = False,
    force: Annotated[bool, typer.Option("--force", help="Even if too few nodes or too little room is left.")] = False,
    relay_hours: RelayHours = 0.0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Cordon a node and move its peers and live sessions away; it stays assigned."""
    with panel() as client:
        if dry_run:
            served = client.get(f"/api/nodes/{part(node)}")["configs"]
            show_departures(client, served, node, relay_hours, as_json=as_json)
            return
        operations = client.call("POST", f"/api/nodes/{part(node)}/drain", force=force, relay_s=relay_hours * 3600)[
            "items"
        ]
        if wait:
            operations = [ended(client, operation["id"]) for operation in operations]
        if as_json:
            show_json(operations)
        elif not operations:
            say("the node is cordoned; it has no config to drain")
        elif wait:
            for operation in operations:
                report(operation)
        else:
            for operation in operations:
                say(f"operation {operation['id']} is {operation['state']}")
        if wait:
            require_success(operations)

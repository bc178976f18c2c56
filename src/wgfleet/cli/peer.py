"""`wgfleet peer`: user devices. A peer is given as CONFIG/NAME, as a name that one config has, or as an id."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from wgfleet.cli import (
    file_settings,
    peer_changes,
    peer_files,
    peer_limits,
    peer_shares,
    peer_tables,
    references,
    speeds,
)
from wgfleet.cli.arguments import Config, OnlyNode, Peer, Peers
from wgfleet.cli.asking import DryRun, ask, ask_about
from wgfleet.cli.client import USAGE, Client, Document, given, items, panel, part, parted
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.deleting import show_deleted
from wgfleet.cli.fields import show_fields, show_thing, with_names
from wgfleet.cli.file_settings import AllowedIps, Dns, EndpointPort, Excluded, Inherit, Keepalive, Mtu
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, age, age_cell, say, show_json, show_table, size, size_cell
from wgfleet.cli.peer_changes import NeedsNewFile
from wgfleet.cli.speeds import Download, RuleSet, Upload
from wgfleet.cli.tree import commands
from wgfleet.protocol.observed import LIVE_S

app = commands()
ARRIVES_S = 3.0  # a node that is well has a change within a second or two
COLUMNS = ("name", "addresses", "node", "online", "handshake", "from", "to")
WIDE = ("tags", "networks", "endpoint", "enabled", "traffic", "restricted_because", "id")

Networks = Annotated[list[str] | None, typer.Option("--network", help="Network behind the peer; repeatable.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Tag that it has; repeatable; '': none.")]
Owner = Annotated[str | None, typer.Option(help="User whose device it is, by id or name; '': nobody's.")]
Notes = Annotated[str | None, typer.Option(help="What you want to remember of it; '': nothing.")]
Nodes = Annotated[
    list[str] | None,
    typer.Option(
        "--nodes",
        help="Node or node group of an independent config that it may use; repeatable, or with commas; '': all.",
    ),
]
Group = Annotated[str | None, typer.Option(help="Node group that it prefers.")]


for command in (peer_files.file, peer_files.files, peer_files.bundle, peer_files.qr):
    app.command()(command)
app.command()(peer_changes.change)
app.command()(peer_changes.move)
app.command()(peer_tables.to_csv)
app.command()(peer_tables.from_csv)
app.command()(peer_shares.share)
app.command()(peer_shares.shares)
app.command()(peer_shares.unshare)
app.command()(peer_limits.limits)
app.command()(peer_limits.reset_usage)
app.command()(peer_limits.sessions)


@app.command("list")
@listed(*COLUMNS, wide=WIDE)
def list_peers(
    client: Client,
    config: Config,
    *,
    search: Annotated[str | None, typer.Option(help="Part of the name; or a whole public key, or address.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only peers with this tag.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only the devices of this user.")] = None,
    online: Annotated[
        bool | None, typer.Option("--online/--offline", help="Only those with a handshake in 3 minutes, or without.")
    ] = None,
    node: OnlyNode = None,
    needs_new_file: NeedsNewFile = None,
) -> ListResult:
    """List the peers of a config, with what their nodes last reported."""
    path = f"/api/configs/{part(config)}/peers"
    peers = client.all(path, search=search, tag=tag, owner=owner, needs_new_file=needs_new_file)
    names = references.names(client, "nodes")
    rows = [(peer, peer_row(peer, names)) for peer in peers]
    rows = [(peer, row) for peer, row in rows if online in {None, row["online"]} and node in {None, row["node"]}]
    rows.sort(key=lambda pair: pair[1]["name"].casefold())
    for peer, row in rows:
        if peer["restricted_at"]:
            row["online"] = "restricted"
    return ListResult([peer for peer, _ in rows], [row for _, row in rows])


def peer_row(peer: Document, nodes: dict[str | None, str]) -> Document:
    """Return a peer as a row of the list; `online`: a handshake in the time after which WireGuard makes another."""
    session = peer["session"] or {}
    shaken = session.get("latest_handshake")
    recent = shaken is not None and (datetime.now(UTC) - datetime.fromisoformat(shaken)).total_seconds() < LIVE_S
    node_id = session.get("node_id") if recent else peer["home_node_id"] or session.get("node_id")
    return {
        **peer,
        "node": nodes.get(node_id, node_id),
        "online": recent,
        "handshake": age_cell(shaken),
        "from": size_cell(session.get("rx")),
        "to": size_cell(session.get("tx")),
        "endpoint": session.get("endpoint"),
        "traffic": size_cell(used["received"] + used["sent"]) if (used := peer["usage"]) else None,
    }


@app.command()
def show(peer: Peer, *, as_json: AsJson = False) -> None:
    """Show a peer."""
    with panel() as client:
        path = f"/api/peers/{references.peer(client, peer)}"
        found = client.get(path)
        if as_json:
            show_json(found)
            return
        nodes = references.names(client, "nodes")
        details = client.get(f"{path}/details")
        shown = with_names(client, _at_nodes(found)) | speeds.in_effect(details) | {"notes": details["notes"]}
    session, used = found["session"], found["usage"]
    shown |= {"session": _session(session, nodes) if session else "none yet"}
    shown |= {"usage": f"{size(used['received'])} from it, {size(used['sent'])} to it" if used else "none yet"}
    show_fields(shown, as_json=False)


def _session(session: Document, nodes: dict[str | None, str]) -> str:
    shaken = session["latest_handshake"]
    return (
        f"on {nodes.get(session['node_id'], session['node_id'])} from {session['endpoint'] or 'nowhere'}, "
        f"{f'handshake {age(shaken)} ago' if shaken else 'no handshake'}, "
        f"{size(session['rx'])} from it, {size(session['tx'])} to it"
    )


@app.command()
def settings(peer: Peer, *, as_json: AsJson = False) -> None:
    """Show the settings of a peer's file, and what set each: the peer, a tag or the config."""
    with panel() as client:
        details = client.get(f"/api/peers/{references.peer(client, peer)}/details")
    if as_json:
        show_json(details)
        return
    show_table(details["settings"], ("name", "value", "origin"))


@app.command()
def create(
    config: Config,
    name: Annotated[str | None, typer.Argument(help="Name of the peer.")] = None,
    *,
    count: Annotated[int | None, typer.Option(help="Create this many, named --prefix and a number.")] = None,
    prefix: Annotated[str, typer.Option(help="Prefix of the names, with --count.")] = "user-",
    public_key: Annotated[str | None, typer.Option(help="The user's own key.")] = None,
    address: Annotated[list[str] | None, typer.Option("--address", help="Wanted address; repeatable.")] = None,
    network: Networks = None,
    group: Group = None,
    nodes: Nodes = None,
    tag: Tags = None,
    owner: Owner = None,
    notes: Notes = None,
    client_allowed_ip: AllowedIps = None,
    exclude: Excluded = None,
    dns: Dns = None,
    mtu: Mtu = None,
    keepalive: Keepalive = None,
    endpoint_port: EndpointPort = None,
    download: Download = None,
    upload: Upload = None,
    rule_set: RuleSet = None,
    as_json: AsJson = False,
) -> None:
    """Create a peer, or --count of them."""
    settings = file_settings.body(
        client_allowed_ip, exclude, dns, mtu=mtu, keepalive=keepalive, endpoint_port=endpoint_port
    ) | speeds.body(download, upload, rule_set)
    path = f"/api/configs/{part(config)}/peers"
    if (name is None) == (count is None):
        say("error: give either a name or --count", err=True)
        raise typer.Exit(USAGE)
    body = (
        settings
        | given(
            public_key=public_key,
            addresses=address,
            networks=network,
            group=group,
            tags=items(tag),
            owner=owner or None,
            notes=notes,
        )
        | _usable(nodes)
    )
    if count is not None and body:
        say("error: --count takes --prefix alone; give the rest with `wgfleet peer change`, or make a table", err=True)
        raise typer.Exit(USAGE)
    with panel() as client:
        if count is not None:
            made = client.call("POST", f"{path}/batch", {"count": count, "name_prefix": prefix})["items"]
            if as_json:
                show_json(made)
            else:
                say(f"{len(made)} peers created, {made[0]['name']} to {made[-1]['name']}")
            return
        made = client.call("POST", path, {"name": name, **body})
        show_thing(client, made if as_json else _at_nodes(made), as_json=as_json)


def _at_nodes(peer: Document) -> Document:
    """Return a peer for people: with its addresses by node where each node has its own."""
    by_node = peer.pop("node_addresses")
    if by_node is None:
        return {name: value for name, value in peer.items() if name != "nodes"}
    lines = [f"{each['node']}: {', '.join(each['addresses'])}" for each in by_node]
    return peer | {"addresses": "\n".join(lines)}


def _usable(nodes: list[str] | None) -> Document:
    """Return what of a peer's body says which nodes it may use; an empty text alone: all of them."""
    if nodes is None:
        return {}
    return {"nodes": parted(nodes) or None}


@app.command()
def update(
    peer: Peer,
    *,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    public_key: Annotated[str | None, typer.Option(help="The user's new key.")] = None,
    rotate_keys: Annotated[
        bool, typer.Option("--rotate-keys", help="Create new keys; the old file stops working.")
    ] = False,
    network: Networks = None,
    group: Group = None,
    nodes: Nodes = None,
    tag: Tags = None,
    owner: Owner = None,
    notes: Notes = None,
    client_allowed_ip: AllowedIps = None,
    exclude: Excluded = None,
    dns: Dns = None,
    mtu: Mtu = None,
    keepalive: Keepalive = None,
    endpoint_port: EndpointPort = None,
    download: Download = None,
    upload: Upload = None,
    rule_set: RuleSet = None,
    inherit: Inherit = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Accept it, or not.")] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Change a peer; options that are not given keep their values. Asks first where that closes destinations."""
    settings = file_settings.body(
        client_allowed_ip, exclude, dns, mtu=mtu, keepalive=keepalive, endpoint_port=endpoint_port
    ) | speeds.body(download, upload, rule_set)
    body = given(
        name=name,
        public_key=public_key,
        networks=network,
        group=group,
        tags=items(tag),
        notes=notes,
        enabled=enabled,
        **settings,
    )
    body |= file_settings.inherited(inherit) | _usable(nodes) | ({} if owner is None else {"owner": owner or None})
    with panel() as client:
        path = f"/api/peers/{references.peer(client, peer)}"
        about_rules: Document = {name: body[name] for name in ("rule_set", "tags") if name in body}
        if about_rules:
            ask(client, path, about_rules, yes=yes, dry_run=False)
        changed = client.change(path, body | given(rotate_keys=rotate_keys or None))
        show_thing(client, changed if as_json else _at_nodes(changed), as_json=as_json)


@app.command()
def delete(peer: Peers, *, yes: Yes = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Delete peers; say which nodes could not be told within a few seconds, and may still let them in."""
    with panel() as client:
        paths = [f"/api/peers/{each}" for each in references.peers(client, peer)]
        found = [client.get(path) for path in paths]
        ask_about(client, [(path, None) for path in paths], yes=yes, dry_run=dry_run)
        for path in paths:
            client.call("DELETE", path)
        ends_at = time.monotonic() + ARRIVES_S
        while owed := _owed(client, found):
            if time.monotonic() >= ends_at:
                break
            time.sleep(ARRIVES_S / 10)
    warnings = [f"{name} may still be let in by {reason}" for name, reason in owed]
    if as_json:
        show_deleted("peer", [(each["name"], each["id"]) for each in found], warnings)
        return
    for each in found:
        say(f"peer {each['name']} was deleted", err=True)
    for each in warnings:
        say(f"warning: {each}", err=True)


def _owed(client: Client, peers: list[Document]) -> list[tuple[str, str]]:
    """Return deleted peers and the nodes that may still let them in, with the reason."""
    wanted = {(each["config_id"], each["name"]) for each in peers}
    return [
        (each["name"], reason)
        for config_id in sorted({config_id for config_id, _ in wanted})
        for each in client.all(f"/api/configs/{config_id}/revocations")
        if (config_id, each["name"]) in wanted
        for reason in each["reasons"]
    ]


@app.command()
def enable(peer: Peers) -> None:
    """Accept peers again."""
    _change(peer, "is let in again", enabled=True)


@app.command()
def disable(peer: Peers) -> None:
    """Refuse peers, and keep them with their keys and addresses."""
    _change(peer, "is no longer let in", enabled=False)


@app.command()
def rename(peer: Peer, name: Annotated[str, typer.Argument(help="The new name.")]) -> None:
    """Give a peer another name; its file goes on working."""
    _change([peer], f"is the new name of {peer}", name=name)


def _change(peers: list[str], done: str, **fields: Any) -> None:
    with panel() as client:
        for each in references.peers(client, peers):
            say(f"{client.change(f'/api/peers/{each}', fields)['name']} {done}")

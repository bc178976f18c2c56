"""`wgfleet peer`: user devices and their files. A peer is given as an id or as CONFIG/NAME."""

import io
import re
import time
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wgfleet.cli.asking import DryRun, Yes, ask
from wgfleet.cli.client import ABSENT, USAGE, CallFailed, Client, Document, given, panel, part
from wgfleet.cli.output import (
    AsJson,
    Output,
    age,
    say,
    show_fields,
    show_json,
    show_table,
    size,
    write_secret,
    write_secret_file,
)
from wgfleet.cli.tree import commands
from wgfleet.qr_code import NoQrCodeError, hard_to_scan, qr_code

app = commands()
ARRIVES_S = 3.0  # a node that is well has a change within a second or two
ONLINE_S = 180.0  # WireGuard drops keys that are older
COLUMNS = ("name", "addresses", "node", "online", "handshake", "from", "to")
WIDE_COLUMNS = (*COLUMNS, "endpoint", "enabled", "id")
Order = Literal["name", "handshake", "traffic"]
ORDERS: dict[str, Callable[[Document], Any]] = {
    "name": lambda row: row["name"],
    "handshake": lambda row: -datetime.fromisoformat(row["shaken"]).timestamp() if row["shaken"] else 0.0,
    "traffic": lambda row: -row["traffic"],
}

Config = Annotated[str, typer.Argument(help="Id or name of the config.")]
Peer = Annotated[str, typer.Argument(help="Id of the peer, or CONFIG/NAME.")]
Node = Annotated[str | None, typer.Option(help="Node of an independent config.")]
Networks = Annotated[list[str] | None, typer.Option("--network", help="Network behind the peer; repeatable.")]
Keepalive = Annotated[int | None, typer.Option(help="Keepalive in seconds; 0: off.")]
Group = Annotated[str | None, typer.Option(help="Node group that it prefers.")]


@app.command("list")
def list_peers(
    config: Config,
    *,
    search: Annotated[str | None, typer.Option(help="Text in names and public keys.")] = None,
    online: Annotated[
        bool | None, typer.Option("--online/--offline", help="Only those with a handshake in 3 minutes, or without.")
    ] = None,
    node: Annotated[str | None, typer.Option(help="Only peers of this node (name).")] = None,
    sort: Annotated[Order, typer.Option(help="By name, handshake (newest first) or traffic (most first).")] = "name",
    wide: Annotated[bool, typer.Option("--wide", help="Also ids and whether enabled.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the peers of a config, with what their nodes last reported."""
    with panel() as client:
        peers = client.all(f"/api/configs/{part(config)}/peers", search=search)
        names = {each["id"]: each["name"] for each in client.all("/api/nodes")}
    rows = [peer_row(peer, names) for peer in peers]
    rows = [row for row in rows if online in {None, row["online"]} and node in {None, row["node"]}]
    rows.sort(key=ORDERS[sort])
    if as_json:
        show_json([row["peer"] for row in rows])
        return
    show_table(rows, WIDE_COLUMNS if wide else COLUMNS, as_json=False)


def peer_row(peer: Document, nodes: dict[str, str]) -> Document:
    """Return a peer as a row of the list; `online`: a handshake in the time after which WireGuard makes another."""
    session = peer["session"] or {}
    shaken = session.get("latest_handshake")
    recent = shaken is not None and (datetime.now(UTC) - datetime.fromisoformat(shaken)).total_seconds() < ONLINE_S
    node_id = session.get("node_id") if recent else peer["home_node_id"] or session.get("node_id")
    return {
        **peer,
        "peer": peer,
        "node": nodes.get(node_id or "", node_id),
        "online": recent,
        "handshake": age(shaken),
        "from": size(session.get("rx")),
        "to": size(session.get("tx")),
        "endpoint": session.get("endpoint"),
        "shaken": shaken or "",
        "traffic": session.get("rx", 0) + session.get("tx", 0),
    }


@app.command()
def show(peer: Peer, *, as_json: AsJson = False) -> None:
    """Show a peer."""
    with panel() as client:
        show_fields(client.get(f"/api/peers/{_id(client, peer)}"), as_json=as_json)


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
    keepalive: Keepalive = None,
    group: Group = None,
    as_json: AsJson = False,
) -> None:
    """Create a peer, or --count of them."""
    path = f"/api/configs/{part(config)}/peers"
    if (name is None) == (count is None):
        say("error: give either a name or --count", err=True)
        raise typer.Exit(USAGE)
    with panel() as client:
        if count is not None:
            made = client.call("POST", f"{path}/batch", {"count": count, "name_prefix": prefix})["items"]
            if as_json:
                show_json(made)
            else:
                say(f"{len(made)} peers created, {made[0]['name']} to {made[-1]['name']}")
            return
        body = given(public_key=public_key, addresses=address, networks=network, keepalive=keepalive, group=group)
        show_fields(client.call("POST", path, {"name": name, **body}), as_json=as_json)


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
    keepalive: Keepalive = None,
    group: Group = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Accept it, or not.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a peer; options that are not given keep their values."""
    body = given(name=name, public_key=public_key, networks=network, keepalive=keepalive, group=group, enabled=enabled)
    with panel() as client:
        path = f"/api/peers/{_id(client, peer)}"
        show_fields(client.call("PATCH", path, {"rotate_keys": rotate_keys, **body}), as_json=as_json)


@app.command()
def delete(peer: Peer, *, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Delete a peer; say which nodes could not be told within a few seconds, and may still let it in."""
    with panel() as client:
        identifier = _id(client, peer)
        found = client.get(f"/api/peers/{identifier}")
        ask(client, f"/api/peers/{identifier}", None, yes=yes, dry_run=dry_run)
        client.call("DELETE", f"/api/peers/{identifier}")
        ends_at = time.monotonic() + ARRIVES_S
        while owed := _owed(client, found):
            if time.monotonic() >= ends_at:
                break
            time.sleep(ARRIVES_S / 10)
    say(f"peer {found['name']} was deleted", err=True)
    for reason in owed:
        say(f"warning: {found['name']} may still be let in by {reason}", err=True)


def _owed(client: Client, peer: Document) -> list[str]:
    """Return the nodes that may still let a deleted peer in, each with the reason."""
    listed = client.all(f"/api/configs/{peer['config_id']}/revocations")
    return [reason for each in listed if each["name"] == peer["name"] for reason in each["reasons"]]


@app.command()
def enable(peer: Peer) -> None:
    """Accept a peer again."""
    _change(peer, enabled=True)


@app.command()
def disable(peer: Peer) -> None:
    """Refuse a peer, and keep it with its keys and addresses."""
    _change(peer, enabled=False)


@app.command()
def rename(peer: Peer, name: Annotated[str, typer.Argument(help="The new name.")]) -> None:
    """Give a peer another name; its file goes on working."""
    _change(peer, name=name)


def _change(peer: str, **fields: Any) -> None:
    with panel() as client:
        client.call("PATCH", f"/api/peers/{_id(client, peer)}", fields)


@app.command()
def files(
    config: Config,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the ZIP to this file (for you only).")],
    node: Node = None,
) -> None:
    """Write the files of all peers of a config into one ZIP, named after the peers."""
    packed, taken = io.BytesIO(), set[str]()
    with panel() as client:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for peer in client.all(f"/api/configs/{part(config)}/peers"):
                name = _file_name(peer, taken)
                archive.writestr(name, client.text(f"/api/peers/{part(peer['id'])}/config", node=node))
        write_secret_file(packed.getvalue(), output)
    say(f"{len(taken)} files", err=True)


def _file_name(peer: Document, taken: set[str]) -> str:
    """Return a name in the archive that no other has, also where cases are one, and that leads nowhere else."""
    stem = re.sub(r"[^\w.@+-]", "_", peer["name"]).lstrip(".") or peer["id"]
    if stem.casefold() in taken:
        stem = f"{stem}-{peer['id']}"
    taken.add(stem.casefold())
    return f"{stem}.conf"


@app.command()
def file(peer: Peer, *, node: Node = None, output: Output = None) -> None:
    """Print a peer's file for wg-quick and the WireGuard apps, or write it."""
    with panel() as client:
        write_secret(client.text(f"/api/peers/{_id(client, peer)}/config", node=node), output)


@app.command()
def bundle(
    peer: Peer,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the tar.gz to this file (for you only).")],
    node: Node = None,
) -> None:
    """Write a peer's file with the Linux helper, which finds another server if its own is down."""
    with panel() as client:
        write_secret_file(client.content(f"/api/peers/{_id(client, peer)}/bundle", node=node), output)


@app.command()
def qr(peer: Peer, *, node: Node = None) -> None:
    """Show a peer's file as a QR code in the terminal."""
    with panel() as client:
        text = client.text(f"/api/peers/{_id(client, peer)}/config", node=node)
        try:
            code = qr_code(text)
        except ModuleNotFoundError:
            raise CallFailed("wgfleet peer qr needs the panel's libraries: script/install panel") from None
        except NoQrCodeError as error:
            raise CallFailed(str(error)) from None
    code.terminal(compact=True)
    if (warning := hard_to_scan(code)) is not None:
        say(f"warning: {warning}", err=True)


def _id(client: Client, reference: str) -> str:
    """Return the id of a peer that is given as an id or as CONFIG/NAME."""
    config, slash, name = reference.partition("/")
    if not slash:
        return part(reference)
    for peer in client.all(f"/api/configs/{part(config)}/peers", search=name):
        if peer["name"] == unicodedata.normalize("NFC", name):
            return str(peer["id"])
    raise CallFailed(f"there is no peer {name!r} in {config!r}; list them with `wgfleet peer list {config}`", ABSENT)

"""`wgfleet tag`: words for some peers, of any config, and settings of all of them."""

from typing import Annotated

import typer

from wgfleet.cli import completion, file_settings, references, speeds
from wgfleet.cli.arguments import Peers
from wgfleet.cli.asking import ask
from wgfleet.cli.client import Client, given, panel, part
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.deleting import deleted
from wgfleet.cli.fields import show_fields
from wgfleet.cli.file_settings import AllowedIps, Dns, EndpointPort, Excluded, Inherit, Keepalive, Mtu
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, say
from wgfleet.cli.speeds import Download, RuleSet, Upload
from wgfleet.cli.tree import commands

app = commands()

Tag = Annotated[str, typer.Argument(help="Id or name of the tag.", autocompletion=completion.names("/api/tags"))]
Color = Annotated[str | None, typer.Option(help="#rrggbb.")]


@app.command("list")
@listed(
    "name",
    "color",
    "peers",
    "mtu",
    "dns",
    wide=("client_allowed_ips", "download_speed", "upload_speed", "rule_set", "id"),
)
def list_tags(client: Client) -> ListResult:
    """List tags."""
    return ListResult(client.all("/api/tags"))


@app.command()
def show(tag: Tag, *, as_json: AsJson = False) -> None:
    """Show a tag."""
    with panel() as client:
        show_fields(client.get(f"/api/tags/{part(tag)}"), as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new tag.")],
    *,
    color: Color = None,
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
    """Create a tag; its settings count for its peers that have none of their own."""
    settings = file_settings.body(
        client_allowed_ip, exclude, dns, mtu=mtu, keepalive=keepalive, endpoint_port=endpoint_port
    ) | speeds.body(download, upload, rule_set)
    with panel() as client:
        made = client.call("POST", "/api/tags", {"name": name, **given(color=color), **settings})
        show_fields(made, as_json=as_json)


@app.command()
def update(
    tag: Tag,
    *,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    color: Color = None,
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
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Change a tag; options that are not given keep their values. Asks first where that closes destinations."""
    settings = file_settings.body(
        client_allowed_ip, exclude, dns, mtu=mtu, keepalive=keepalive, endpoint_port=endpoint_port
    ) | speeds.body(download, upload, rule_set)
    body = {**given(name=name, color=color), **settings, **file_settings.inherited(inherit)}
    with panel() as client:
        path = f"/api/tags/{part(tag)}"
        if "rule_set" in body:
            ask(client, path, body, yes=yes, dry_run=False)
        show_fields(client.change(path, body), as_json=as_json)


@app.command()
def delete(tag: Tag, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a tag; its peers stay. Asks first where it opens or closes destinations to them."""
    with panel() as client:
        ask(client, f"/api/tags/{part(tag)}", None, yes=yes, dry_run=False)
        client.call("DELETE", f"/api/tags/{part(tag)}")
    deleted(f"tag {tag} was deleted", "tag", tag, as_json=as_json)


@app.command()
def give(tag: Tag, peers: Peers, *, yes: Yes = False) -> None:
    """Give a tag to peers. Asks first where its rules or limits open or close something to them."""
    _change(tag, yes=yes, add=peers)


@app.command()
def take(tag: Tag, peers: Peers, *, yes: Yes = False) -> None:
    """Take a tag from peers; asks as `give` does."""
    _change(tag, yes=yes, remove=peers)


def _change(tag: str, *, yes: bool, **peers: list[str]) -> None:
    with panel() as client:
        body = {word: references.peers(client, listed) for word, listed in peers.items()}
        path = f"/api/tags/{part(tag)}/peers"
        ask(client, path, body, yes=yes, dry_run=False)
        added = client.call("POST", path, body)["added"]
    if "add" in peers:
        say(f"{added} of {len(body['add'])} peers did not have it", err=True)

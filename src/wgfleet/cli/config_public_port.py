"""`wgfleet config public-port`: the port of a router that leads to a node, where it is not that of the config."""

from typing import Annotated

import typer

from wgfleet.cli.arguments import Config, Node
from wgfleet.cli.asking import DryRun, ask
from wgfleet.cli.client import Document, panel, part
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.output import AsJson, say, show_json
from wgfleet.protocol.addresses import LAST_PORT
from wgfleet.protocol.quotes import quoted

NONE = "none"
_DIGITS = len(str(LAST_PORT))


def public_port(
    config: Config,
    node: Node,
    port: Annotated[str, typer.Argument(help=f"UDP port that the router forwards to the node; {NONE}: the config's.")],
    *,
    backbone: Annotated[
        bool, typer.Option("--backbone", help="That of its end of the backbone, which other nodes use.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Use it at once, whether the node answers there or not.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Set the port at which clients, or other nodes, reach a node that is behind a router."""
    if port != NONE and not (
        port.isascii() and port.isdigit() and len(port) <= _DIGITS and 1 <= int(port) <= LAST_PORT
    ):
        raise typer.BadParameter(f"PORT must be a number from 1 to {LAST_PORT} or {NONE}, not {quoted(port)}")
    field = "public_backbone_port" if backbone else "public_port"
    body = {field: None if port == NONE else int(port)}
    path = f"/api/configs/{part(config)}/nodes/{part(node)}"
    with panel() as client:
        ask(client, path, body, yes=yes, dry_run=dry_run, force=force)
        changed = client.change(path, body, force=force or None)
    if as_json:
        show_json(changed)
        return
    if backbone:
        at = changed[field] or "of the config"
        say(f"other nodes reach the backbone of {changed['config_name']} on {changed['node_name']} at port {at}")
        return
    waiting, now = changed["next_public_port"], changed["public_port"]
    if waiting is None:
        say(f"clients reach {changed['config_name']} on {changed['node_name']} at port {now or 'of the config'}")
    else:
        say(f"used once {changed['node_name']} answers there: port {waiting or 'of the config'}; at once with --force")
    warn_of_ports([changed])


def port_warnings(nodes: list[Document]) -> list[str]:
    """Say which nodes a config's name does not list, since clients reach them at another port than the files say."""
    return [f"{node['node_name']}: {node['public_port_warning']}" for node in nodes if node.get("public_port_warning")]


def warn_of_ports(nodes: list[Document]) -> None:
    """Print that, where it is so."""
    for each in port_warnings(nodes):
        say(f"warning: {each}; its name leads to others", err=True)

"""`wgfleet relay`: clients whose packets a node that they know passes on to the node that has them."""

from typing import Annotated, Any

import typer

from wgfleet.cli.asking import DryRun, Yes, ask
from wgfleet.cli.client import USAGE, CallFailed, Document, given, panel, part
from wgfleet.cli.output import AsJson, say, show_json, show_table
from wgfleet.cli.tree import commands

app = commands()
COLUMNS = ("config_name", "node_name", "peer_name", "to_node_name", "live", "since", "ends_at", "state")

Config = Annotated[str, typer.Argument(help="Id or name of the config.")]
Node = Annotated[str, typer.Argument(help="Id or name of the node that relays.")]
Peer = Annotated[str | None, typer.Option(help="Id or name of one peer.")]
All = Annotated[bool, typer.Option("--all", help="All relays of the config on the node.")]


@app.command("list")
def list_relays(
    *,
    config: Annotated[str | None, typer.Option(help="Only of this config.")] = None,
    node: Annotated[str | None, typer.Option(help="Only those of this node.")] = None,
    as_json: AsJson = False,
) -> None:
    """List who hangs on which relay, since when and until when."""
    with panel() as client:
        found = client.all("/api/relays", **given(config=config, node=node))
    if as_json:
        show_json(found)
    else:
        show_table([{**each, "state": _state(each)} for each in found], COLUMNS, as_json=False)


def _state(relay: dict[str, Any]) -> str:
    if relay["ending"]:
        asked = "is being ended"
    elif relay["wanted_ends_at"]:
        asked = "is being prolonged"
    else:
        return "relayed" if relay["connected"] else "relayed (the agent does not answer)"
    return asked if relay["connected"] else f"{asked} (waits for the agent)"


@app.command()
def end(
    config: Config,
    node: Node,
    *,
    peer: Peer = None,
    every: All = False,
    force: Annotated[bool, typer.Option("--force", help="Also where live clients are cut off by it.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """End a relay, or all of a node: who still hangs on it is cut off."""
    path = _path(config, node)
    with panel() as client:
        one = _one(peer, every=every)
        ask(client, path, None, yes=yes, dry_run=dry_run, force=force, **one)
        asked = client.call("DELETE", path, force=force or None, **one)["peers"]
    _report(asked, "will be relayed no more")


@app.command()
def prolong(
    config: Config,
    node: Node,
    *,
    hours: Annotated[
        float, typer.Option("--hours", "--relay-hours", min=0.01, max=24 * 90, help="For how long from now.")
    ],
    peer: Peer = None,
    every: All = False,
) -> None:
    """Have a node relay a client, or all that it does, for longer."""
    path = _path(config, node)
    with panel() as client:
        one = _one(peer, every=every)
        asked = client.call("POST", f"{path}/prolong", {"relay_s": hours * 3600}, **one)["peers"]
    _report(asked, f"will be relayed for {hours:g} hours from now")


def _path(config: str, node: str) -> str:
    return f"/api/configs/{part(config)}/nodes/{part(node)}/relays"


def _one(peer: str | None, *, every: bool) -> Document:
    """Return which relays are meant, as parameters; for all of them it has to be said."""
    if (peer is None) is not every:
        raise CallFailed("give --peer NAME for one relay, or --all", USAGE)
    return given(peer=peer)


def _report(names: list[str], what: str) -> None:
    say(f"{', '.join(names)} {what}; wgfleet relay list" if names else "nobody hangs on a relay there", err=True)

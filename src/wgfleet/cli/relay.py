"""`wgfleet relay`: clients whose packets a node that they know passes on to the node that has them."""

from typing import Annotated, Any

import typer

from wgfleet.cli import arguments
from wgfleet.cli.arguments import OnlyConfig, OnlyNode
from wgfleet.cli.asking import DryRun, ask
from wgfleet.cli.client import USAGE, CallFailed, Client, Document, given, panel, part
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import age_cell, say
from wgfleet.cli.tree import commands

app = commands()
Config = arguments.Config
RelayingNode = arguments.Node
OnePeer = Annotated[str | None, typer.Option("--peer", help="Id or name of one peer.")]
All = Annotated[bool, typer.Option("--all", help="All relays of the config on the node.")]


@app.command("list")
@listed("config", "node", "peer", "to", "live", "since", "ends_at", "state")
def list_relays(client: Client, *, config: OnlyConfig = None, node: OnlyNode = None) -> ListResult:
    """List who hangs on which relay, since when and until when."""
    found = client.all("/api/relays", **given(config=config, node=node))
    rows = [
        {
            **each,
            "config": each["config_name"],
            "node": each["node_name"],
            "peer": each["peer_name"],
            "to": each["to_node_name"],
            "since": age_cell(each["since"]),
            "state": _state(each),
        }
        for each in found
    ]
    return ListResult(found, rows)


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
    node: RelayingNode,
    *,
    peer: OnePeer = None,
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
    node: RelayingNode,
    *,
    relay_hours: Annotated[
        float, typer.Option("--hours", "--relay-hours", min=0.01, max=24 * 90, help="For how long from now.")
    ],
    peer: OnePeer = None,
    every: All = False,
) -> None:
    """Have a node relay a client, or all that it does, for longer."""
    path = _path(config, node)
    with panel() as client:
        one = _one(peer, every=every)
        asked = client.call("POST", f"{path}/prolong", {"relay_s": relay_hours * 3600}, **one)["peers"]
    _report(asked, f"will be relayed for {relay_hours:g} hours from now")


def _path(config: str, node: str) -> str:
    return f"/api/configs/{part(config)}/nodes/{part(node)}/relays"


def _one(peer: str | None, *, every: bool) -> Document:
    """Return which relays are meant, as parameters; for all of them it has to be said."""
    if (peer is None) is not every:
        raise CallFailed("give --peer NAME for one relay, or --all", USAGE)
    return given(peer=peer)


def _report(names: list[str], what: str) -> None:
    say(f"{', '.join(names)} {what}; wgfleet relay list" if names else "nobody hangs on a relay there", err=True)

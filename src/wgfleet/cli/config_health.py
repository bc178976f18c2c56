"""`wgfleet config health`: the health of a config's nodes, and its history."""

from typing import Annotated

import typer

from wgfleet.cli.client import panel, part
from wgfleet.cli.output import AsJson, show_json, show_table

NODES = ("node_name", "health", "since", "reason")
HISTORY = ("at", "node", "change", "reason")


def health(
    config: Annotated[str, typer.Argument(help="Id or name of the config.")],
    *,
    history: Annotated[int, typer.Option(min=0, max=1000, help="Number of changes to list.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show which nodes of a config serve, since when and why, and the latest changes."""
    with panel() as client:
        found = client.get(f"/api/configs/{part(config)}/health", history=history)
    if as_json:
        show_json(found)
        return
    if found["frozen"]:
        typer.echo(f"warning: no node is taken out of use at present: {found['frozen']}", err=True)
    show_table(found["nodes"], NODES, as_json=False)
    if not found["history"]:
        return
    names = {node["node_id"]: node["node_name"] for node in found["nodes"]}
    changes = [
        {
            **event,
            "node": names.get(event["node_id"], event["node_id"]),  # a node that was removed has no name here
            "change": f"{event['before']} -> {event['after']}",
        }
        for event in found["history"]
    ]
    typer.echo()
    show_table(changes, HISTORY, as_json=False)

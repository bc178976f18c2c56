"""`wgfleet usage`: what peers sent and received."""

from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.client import USAGE, CallFailed, Client
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import Output, size_cell
from wgfleet.cli.tree import single

app = single()
COLUMNS = ("start", "name", "received", "sent", "traffic")


@app.command("usage")
@listed(*COLUMNS, wide=("id",))
def show_usage(
    client: Client,
    *,
    per: Annotated[str, typer.Option(help="hour, day, month or total.")] = "total",
    by: Annotated[str, typer.Option(help="peer, node or config.")] = "peer",
    config: Annotated[str | None, typer.Option(help="Only of this config.")] = None,
    node: Annotated[str | None, typer.Option(help="Only what this node carried.")] = None,
    peer: Annotated[str | None, typer.Option(help="Only of this peer: CONFIG/NAME, or its id.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From this hour on, as 2026-11-27.")] = None,
    to: Annotated[str | None, typer.Option(help="Up to this hour, as 2026-12-01.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, with whole numbers of bytes.")] = False,
    output: Output = None,
) -> ListResult:
    """Show what was sent and received, as the nodes see it: received is what came from the peers."""
    peer_id = None if peer is None else references.peer(client, peer)
    asked = {"from": since, "to": to, "per": per, "by": by, "config": config, "node": node, "peer": peer_id}
    if as_csv:
        return ListResult((), table=(client.table("/api/usage", **asked), output))
    if output is not None:
        raise CallFailed("--output is for --csv: give both", USAGE)
    found = client.all("/api/usage", **asked)
    rows = [
        {
            **each,
            "start": (each["start"] or "").removesuffix(":00:00Z").removesuffix("T00"),
            "name": each["name"] or each["id"],
            "received": size_cell(each["received"]),
            "sent": size_cell(each["sent"]),
            "traffic": size_cell(each["received"] + each["sent"]),
        }
        for each in found
    ]
    return ListResult(found, rows)

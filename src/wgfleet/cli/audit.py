"""`wgfleet audit`: who did what, and when."""

from typing import Annotated

import typer

from wgfleet.cli.client import panel
from wgfleet.cli.output import AsJson, show_table
from wgfleet.cli.tree import commands

app = commands()
COLUMNS = ("at", "actor", "action", "entity_type", "details")


@app.callback()
def root() -> None:
    """Who did what, and when."""


@app.command("list")
def list_entries(
    *,
    entity_type: Annotated[
        str | None, typer.Option("--type", help="Type of the object: config_node, peer, node, ...")
    ] = None,
    entity_id: Annotated[str | None, typer.Option("--id", help="Id of the object.")] = None,
    action: Annotated[str | None, typer.Option(help="created, assigned, deleted, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="Number of entries to skip.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List the audit log, newest first."""
    with panel() as client:
        found = client.get(
            "/api/audit-logs", entity_type=entity_type, entity_id=entity_id, action=action, limit=limit, offset=offset
        )
    show_table(found["items"], COLUMNS, as_json=as_json)

"""`wgfleet backup`: copies of interfaces, made before a node is removed from a config, or by hand."""

from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.arguments import Backup, Config, Node, OnlyConfig, OnlyNode
from wgfleet.cli.client import Client, panel, part
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, Output, age_cell, short, write_secret
from wgfleet.cli.tree import commands

app = commands()
COLUMNS = ("id", "config", "node", "peers", "age", "reason")


@app.command("list")
@listed(*COLUMNS, wide=("whole_id", "created_at"))
def list_backups(
    client: Client,
    *,
    config: OnlyConfig = None,
    node: OnlyNode = None,
) -> ListResult:
    """List backups, newest first."""
    found = client.all("/api/backups", config=config, node=node)
    rows = [
        {
            **each,
            "id": short(each["id"]),
            "whole_id": each["id"],
            "config": each["config_name"],
            "node": each["node_name"],
            "age": age_cell(each["created_at"]),
        }
        for each in found
    ]
    return ListResult(found, rows)


@app.command()
def create(
    config: Config,
    node: Node,
    *,
    reason: Annotated[str | None, typer.Option(help="Why, in words.")] = None,
    as_json: AsJson = False,
) -> None:
    """Save the interface of a config on a node with all its peers; of these, the 20 newest are kept."""
    with panel() as client:
        made = client.call("POST", "/api/backups", {"config": config, "node": node, "reason": reason})
    show_fields(made, as_json=as_json)


@app.command()
def show(backup: Backup, *, as_json: AsJson = False) -> None:
    """Show a backup, without its content."""
    with panel() as client:
        show_fields(client.get(f"/api/backups/{part(_id(client, backup))}"), as_json=as_json)


@app.command()
def download(backup: Backup, *, output: Output = None) -> None:
    """Print a backup as a wg-quick file with its keys, or write it."""
    with panel() as client:
        write_secret(client.text(f"/api/backups/{part(_id(client, backup))}/download"), output)


def _id(client: Client, reference: str) -> str:
    return references.identifier(client, "/api/backups", reference, ("config_name", "node_name", "created_at"))

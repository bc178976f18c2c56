"""`wgfleet backup`: copies of interfaces, made before a node is removed from a config."""

from typing import Annotated

import typer

from wgfleet.cli.client import panel, part
from wgfleet.cli.output import AsJson, Output, show_fields, show_table, write_secret
from wgfleet.cli.tree import commands

app = commands()
COLUMNS = ("id", "config_name", "node_name", "peers", "reason", "created_at")

Backup = Annotated[str, typer.Argument(help="Id of the backup.")]


@app.command("list")
def list_backups(
    *,
    config: Annotated[str | None, typer.Option(help="Only backups of this config.")] = None,
    node: Annotated[str | None, typer.Option(help="Only backups of this node.")] = None,
    as_json: AsJson = False,
) -> None:
    """List backups, newest first."""
    with panel() as client:
        show_table(client.all("/api/backups", config=config, node=node), COLUMNS, as_json=as_json)


@app.command()
def show(backup: Backup, *, as_json: AsJson = False) -> None:
    """Show a backup, without its content."""
    with panel() as client:
        show_fields(client.get(f"/api/backups/{part(backup)}"), as_json=as_json)


@app.command()
def download(backup: Backup, *, output: Output = None) -> None:
    """Print a backup as a wg-quick file with its keys, or write it."""
    with panel() as client:
        write_secret(client.text(f"/api/backups/{part(backup)}/download"), output)

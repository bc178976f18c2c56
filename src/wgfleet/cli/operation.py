"""`wgfleet operation`: long-running work and its progress."""

from typing import Annotated

import typer

from wgfleet.cli.client import panel, part
from wgfleet.cli.output import AsJson, show_fields, show_json, show_table
from wgfleet.cli.waiting import follow, moved, report, trouble

app = typer.Typer(no_args_is_help=True)
COLUMNS = ("id", "kind", "state", "step", "moved", "created_at", "error")

Operation = Annotated[str, typer.Argument(help="Id of the operation.")]


@app.command("list")
def list_operations(
    *,
    state: Annotated[str | None, typer.Option(help="pending, running, succeeded or failed.")] = None,
    as_json: AsJson = False,
) -> None:
    """List operations, newest first."""
    with panel() as client:
        found = client.all("/api/operations", state=state)
    if not as_json:
        for operation in found:
            operation |= {"moved": moved(operation), "error": trouble(operation)}
    show_table(found, COLUMNS, as_json=as_json)


@app.command()
def show(operation: Operation, *, as_json: AsJson = False) -> None:
    """Show an operation."""
    with panel() as client:
        show_fields(client.get(f"/api/operations/{part(operation)}"), as_json=as_json)


@app.command()
def wait(operation: Operation, *, as_json: AsJson = False) -> None:
    """Wait until an operation has finished."""
    with panel() as client:
        ended = follow(client, operation)
        if as_json:
            show_json(ended)
        else:
            report(ended)

"""`wgfleet operation`: long-running work and its progress."""

from typing import Annotated

import typer

from wgfleet.cli.client import Client, panel, part
from wgfleet.cli.output import AsJson, age, show_fields, show_json, show_table
from wgfleet.cli.tree import commands
from wgfleet.cli.waiting import follow, moved, report, trouble

app = commands()
SHORT = 8  # characters of an id in tables
COLUMNS = ("id", "kind", "config", "node", "state", "moved", "age", "error")

Operation = Annotated[str, typer.Argument(help="Id of the operation, or its last characters as listed.")]


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
            configs, nodes = _names(client, "configs"), _names(client, "nodes")
            for operation in found:
                operation |= {"moved": moved(operation), "error": trouble(operation)}
                operation |= {"id": short(operation["id"]), "age": age(operation["created_at"])}
                operation["config"] = configs.get(operation["config_id"], operation["config_id"])
                operation["node"] = nodes.get(operation["node_id"], operation["node_id"])
    show_table(found, COLUMNS, as_json=as_json)


@app.command()
def show(operation: Operation, *, as_json: AsJson = False) -> None:
    """Show an operation."""
    with panel() as client:
        found = client.get(f"/api/operations/{part(whole(client, operation))}")
        if not as_json:
            configs, nodes = _names(client, "configs"), _names(client, "nodes")
            found |= {
                "config": configs.get(found["config_id"], found["config_id"]),
                "node": nodes.get(found["node_id"], found["node_id"]),
            }
            found = {name: value for name, value in found.items() if name not in {"config_id", "node_id", "subject"}}
        show_fields(found, as_json=as_json)


@app.command()
def wait(operation: Operation, *, as_json: AsJson = False) -> None:
    """Wait until an operation has finished."""
    with panel() as client:
        ended = follow(client, whole(client, operation))
        if as_json:
            show_json(ended)
        else:
            report(ended)


@app.command()
def cancel(operation: Operation, *, as_json: AsJson = False) -> None:
    """Cancel a removal, a drain or a rebalance, and wait for its end.

    The node of a removal serves on, unless it deletes its interface already; one that is drained is uncordoned. Peers
    that have a new home keep it.
    """
    with panel() as client:
        identifier = whole(client, operation)
        client.call("POST", f"/api/operations/{part(identifier)}/cancel")
        ended = follow(client, identifier)
        if as_json:
            show_json(ended)
        else:
            report(ended)


def short(identifier: str) -> str:
    """Return the end of an id, which tells things of one hour apart; ids begin with the time."""
    return identifier[-SHORT:]


def whole(client: Client, reference: str) -> str:
    """Return the id of the operation that a reference, an id or the end of one, stands for."""
    if len(reference) != SHORT:
        return reference
    found = [each["id"] for each in client.all("/api/operations") if each["id"].endswith(reference)]
    return str(found[0]) if len(found) == 1 else reference


def _names(client: Client, kind: str) -> dict[str | None, str]:
    return {each["id"]: each["name"] for each in client.all(f"/api/{kind}")}

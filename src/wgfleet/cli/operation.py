"""`wgfleet operation`: long-running work and its progress."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from wgfleet.cli import references, watching
from wgfleet.cli.arguments import Operation
from wgfleet.cli.client import Client, Document, panel, part
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, age_cell, duration, short, show_json
from wgfleet.cli.tree import commands
from wgfleet.cli.waiting import ended, follow, moved, report, require_success, trouble
from wgfleet.cli.watching import Watch

app = commands()
COLUMNS = ("id", "kind", "state", "age", "config", "node", "moved", "error")

LEFT_OUT = {"config_id", "config_name", "node_id", "node_name", "subject", "peers_migrated"}


@app.command("list")
@listed(*COLUMNS, wide=("step", "requested_by", "whole_id"))
def list_operations(
    client: Client,
    *,
    state: Annotated[str | None, typer.Option(help="pending, running, succeeded or failed.")] = None,
    kind: Annotated[str | None, typer.Option(help="remove_node, drain, failover, rebalance, ...")] = None,
) -> ListResult:
    """List operations, newest first."""
    found = client.all("/api/operations", state=state, kind=kind)
    configs, nodes = references.names(client, "configs"), references.names(client, "nodes")
    return ListResult(found, [row(each, configs, nodes) for each in found])


def row(operation: Document, configs: dict[str | None, str], nodes: dict[str | None, str]) -> Document:
    """Return an operation as a row of the list."""
    return {
        **operation,
        "id": short(operation["id"]),
        "whole_id": operation["id"],
        "kind": operation["kind"].replace("_", " "),
        "moved": moved(operation),
        "age": age_cell(operation["created_at"]),
        "error": trouble(operation),
        "config": configs.get(operation["config_id"], operation.get("config_name") or _short(operation["config_id"])),
        "node": nodes.get(operation["node_id"], operation.get("node_name") or _short(operation["node_id"])),
    }


def _short(identifier: str | None) -> str | None:
    """Return what is left of the id of a thing that is gone, as a name has it that is longer than a column."""
    return None if identifier is None else short(identifier)


@app.command()
def show(operation: Operation, *, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show an operation."""
    with panel() as client:
        identifier = whole(client, operation)
        watching.draw(lambda: _show(client, identifier, as_json=as_json), watch=watch)


def _show(client: Client, identifier: str, *, as_json: bool) -> None:
    found = client.get(f"/api/operations/{part(identifier)}")
    if as_json:
        show_json(found)
        return
    names = references.names(client, "configs") | references.names(client, "nodes")
    shown: Document = {"id": found["id"], "kind": found["kind"].replace("_", " ")}
    shown |= {
        kind: names.get(found[f"{kind}_id"], found.get(f"{kind}_name") or found[f"{kind}_id"])
        for kind in ("config", "node")
    }
    left_out = LEFT_OUT | ({"progress"} if found["finished_at"] else set())  # which the result replaces
    shown |= {name: _worded(value) for name, value in found.items() if name not in {*shown, *left_out}}
    show_fields({name: value for name, value in shown.items() if value is not None}, as_json=False)


def _worded(value: object) -> object:
    """Return counts and options as people read them: times by the clock, spans in their largest unit."""
    if not isinstance(value, dict):
        return value
    return {name.removesuffix("_s"): _spoken(name, each) for name, each in value.items()}


def _spoken(name: str, value: object) -> object:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if name.endswith("_at"):
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        return duration(value) if name.endswith("_s") else f"{value:g}"
    return value


@app.command()
def wait(operation: Operation, *, as_json: AsJson = False) -> None:
    """Wait until an operation has finished."""
    with panel() as client:
        found = follow(client, whole(client, operation))
        if as_json:
            show_json(found)
        else:
            report(found)


@app.command()
def cancel(operation: Operation, *, as_json: AsJson = False) -> None:
    """Cancel a removal, a drain, a rebalance or a move of peers, and wait for its end.

    The node of a removal serves on, unless it deletes its interface already; one that is drained is uncordoned. Peers
    that have a new home keep it.
    """
    with panel() as client:
        identifier = whole(client, operation)
        client.call("POST", f"/api/operations/{part(identifier)}/cancel")
        found = ended(client, identifier)
        if not found["cancelled_by"]:
            require_success([found])
        if as_json:
            show_json(found)
        else:
            report(found)


def whole(client: Client, reference: str) -> str:
    """Return the id of the operation that a reference, an id or the end of one, stands for."""
    return references.identifier(client, "/api/operations", reference, ("kind", "state", "created_at"))

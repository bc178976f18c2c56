"""`wgfleet audit`: who did what, and when."""

from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.client import Client, Document
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import age_cell, short, text
from wgfleet.cli.tree import commands

app = commands()
COLUMNS = ("age", "actor", "action", "about", "type", "details")
NAMED = ("name", "node", "config")  # of details: what an entry is about, as people call it
KINDS = ("configs", "nodes", "node-groups")  # whose names are asked for where details have none


@app.callback()
def root() -> None:
    """Who did what, and when."""


@app.command("list")
@listed(*COLUMNS, wide=("at", "address", "entity_id"))
def list_entries(
    client: Client,
    *,
    entity_type: Annotated[
        str | None, typer.Option("--type", help="Type of the object: config_node, peer, node, ...")
    ] = None,
    entity_id: Annotated[str | None, typer.Option("--id", help="Id of the object.")] = None,
    action: Annotated[str | None, typer.Option(help="created, assigned, deleted, ...")] = None,
    actor: Annotated[str | None, typer.Option(help="user:NAME, key:NAME, node:NAME, panel.")] = None,
    address: Annotated[str | None, typer.Option(help="IP address of the caller, or a network: 10.0.0.0/8.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From this time on, as 2026-11-27.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this time, as 2026-12-01.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="Number of entries to skip.")] = 0,
) -> ListResult:
    """List the audit log, newest first."""
    found = client.get(
        "/api/audit-logs",
        entity_type=entity_type,
        entity_id=entity_id,
        action=action,
        actor=actor,
        address=address,
        since=since,
        until=until,
        limit=limit,
        offset=offset,
    )["items"]
    called = {identifier: name for kind in KINDS for identifier, name in references.names(client, kind).items()}
    return ListResult(found, [_row(each, called) for each in found])


def _row(entry: Document, called: dict[str | None, str]) -> Document:
    details = {
        _worded(name): _named(value, called)
        for name, value in entry["details"].items()
        if value not in (None, "", [], {})
    }
    about = _about(entry, called)
    return {
        **entry,
        "age": age_cell(entry["at"]),
        "type": entry["entity_type"].replace("_", " "),
        "about": about,
        "details": ", ".join(f"{name} {text(value)}" for name, value in details.items() if text(value) not in about),
    }


def _about(entry: Document, called: dict[str | None, str]) -> str:
    """Return the name of what an entry is about: from its details, from the lists of things, or the end of its id."""
    details, identifier = entry["details"], str(entry["entity_id"])
    config, slash, node = identifier.partition("/")
    if slash and config in called:
        return f"{called[config]}/{called.get(node, short(node))}"
    if details.get("config") and details.get("node"):
        return f"{details['config']}/{details['node']}"
    for name in NAMED:
        if isinstance(details.get(name), str):
            return str(details[name])
    return called.get(identifier) or (short(identifier) if references.is_id(identifier) else identifier)


def _worded(name: str) -> str:
    return name.replace("_", " ")


def _named(value: object, called: dict[str | None, str]) -> object:
    """Replace ids by names, or by their ends where they have none; also as names of counts."""
    if isinstance(value, dict):
        return {_named(key, called): _named(each, called) for key, each in value.items()}
    if isinstance(value, list):
        return [_named(each, called) for each in value]
    if isinstance(value, str) and references.is_id(value):
        return called.get(value) or short(value)
    return value

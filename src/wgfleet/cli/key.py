"""`wgfleet key`: API keys, with which programs use the panel."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.arguments import Key
from wgfleet.cli.client import Client, panel, part
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.deleting import deleted
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, age, age_cell, say, show_json
from wgfleet.cli.tree import commands

app = commands()
COLUMNS = ("name", "scopes", "made", "used", "expires_at")


@app.command("list")
@listed(*COLUMNS, wide=("id",))
def list_keys(client: Client) -> ListResult:
    """List the API keys, and how long ago each was made and used."""
    found = client.all("/api/keys")
    return ListResult(
        found,
        [{**each, "made": age_cell(each["created_at"]), "used": age_cell(each["last_used_at"])} for each in found],
    )


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new key.")],
    *,
    scope: Annotated[list[str], typer.Option(help="read, write, nodes, secrets or admin; repeatable.")],
    config: Annotated[list[str] | None, typer.Option(help="Config that it is limited to; repeatable.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Node group that it is limited to; repeatable.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=36500, help="Days until it expires.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key; it is printed once."""
    expires_at = None if days is None else (datetime.now(UTC) + timedelta(days=days)).isoformat()
    body = {"name": name, "scopes": scope, "expires_at": expires_at}
    with panel() as client:
        made = client.call("POST", "/api/keys", body | {"configs": config or None, "node_groups": group or None})
    if as_json:
        show_json(made)
        return
    say(f"{made['name']} may {', '.join(made['scopes'])}; the key is shown this once:", err=True)
    say(made["key"])


@app.command()
def delete(key: Key, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Revoke an API key: what uses it is refused from now on."""
    with panel() as client:
        identifier = references.identifier(client, "/api/keys", key, ("name",), name="name")
        found = next((each for each in client.all("/api/keys") if each["id"] == identifier), None)
        if found and not yes:
            used = f"used {age(found['last_used_at'])} ago" if found["last_used_at"] else "never used"
            begun = f"; {found['operations']} operations that it began stop" if found.get("operations") else ""
            go_on(f"Revoke {found['name']} ({', '.join(found['scopes'])}; {used}{begun})?")
        client.call("DELETE", f"/api/keys/{part(identifier)}")
    name = found["name"] if found else key
    deleted(f"{name} is revoked", "key", name, identifier, as_json=as_json)

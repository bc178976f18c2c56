"""`wgfleet dns`: published names: their state, plans and history, and the actions on them."""

from typing import Annotated, Any

import typer

from wgfleet.cli.arguments import Config
from wgfleet.cli.client import FAILED, Client, given, panel, part
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, age_cell, say, show_json, show_table
from wgfleet.cli.tree import commands

app = commands()
Name = Annotated[str | None, typer.Option(help="Which name, of an independent config whose nodes have several.")]
COLUMNS = ("config", "name", "state", "published", "provider", "attempts", "error")
FIELDS = (
    *("name", "config", "provider", "zone", "state", "withdrawn", "published", "error", "error_class", "attempts"),
    *("next_try_at", "reason", "requested_by", "decided_at", "checked_at", "published_at", "seconds", "plan_id"),
)
HISTORY = ("age", "actor", "action", "details")


@app.command("list")
@listed(*COLUMNS, wide=("next_try_at",))
def list_names(
    client: Client,
    *,
    state: Annotated[
        str | None, typer.Option(help="pending, synced, failing, conflict, approval or cancelled.")
    ] = None,
) -> ListResult:
    """List published names and their state."""
    return ListResult(client.all("/api/dns", state=state))


@app.command()
def show(config: Config, *, as_json: AsJson = False) -> None:
    """Show a config's name, and former names that are being withdrawn."""
    with panel() as client:
        _show(client.get(f"/api/dns/{part(config)}"), as_json=as_json)


@app.command()
def plan(
    config: Config,
    *,
    adopt: Annotated[bool, typer.Option("--adopt", help="Plan as if foreign records were adopted.")] = False,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Show what would change at the name now; changes nothing."""
    with panel() as client:
        found = client.get(f"/api/dns/{part(config)}/plan", adopt=adopt or None, name=name)
    if as_json:
        show_json(found)
        return
    for conflict in found["conflicts"]:
        say(f"conflict: {conflict['detail']}")
    for difference in found["differences"]:
        say(difference)
    if found["note"]:
        say(f"note: {found['note']}")
    counts = ", ".join(f"{count} {action}" for action, count in found["counts"].items())
    held = " (nothing will be changed: see the conflicts)" if found["stopped"] else ""
    held = " (waiting for approval)" if found["needs_approval"] else held
    say(f"plan {found['id']} for {found['name']}: {counts}{held}")


@app.command()
def retry(config: Config, *, as_json: AsJson = False) -> None:
    """Retry the config's names now; resume cancelled ones, repair reported drift."""
    with panel() as client:
        _show(client.call("POST", f"/api/dns/{part(config)}/retry"), as_json=as_json)


@app.command()
def cancel(config: Config, *, as_json: AsJson = False) -> None:
    """Stop changing the config's names until `retry`, or until its endpoint group is saved."""
    with panel() as client:
        _show(client.call("POST", f"/api/dns/{part(config)}/cancel"), as_json=as_json)


@app.command()
def approve(
    config: Config,
    plan_id: Annotated[str, typer.Argument(help="Id of the plan, from `show` or `plan`.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Approve the plan that the name is waiting with, and no other."""
    with panel() as client:
        _show_one(client.call("POST", f"/api/dns/{part(config)}/approve", {"plan_id": plan_id}), as_json=as_json)


@app.command()
def adopt(
    config: Config,
    plan_id: Annotated[str, typer.Argument(help="Id of the plan, from `plan --adopt`.")],
    *,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Adopt foreign addresses at the name: desired ones become ours, others are deleted."""
    with panel() as client:
        body = {"plan_id": plan_id} | given(name=name)
        _show_one(client.call("POST", f"/api/dns/{part(config)}/adopt", body), as_json=as_json)


@app.command()
def check(config: Config, *, name: Name = None, as_json: AsJson = False) -> None:
    """Check credential, zone and permissions with the provider; exit code 1 if one is wrong."""
    with panel() as client:
        which = "" if name is None else f"?name={part(name)}"
        found = client.call("POST", f"/api/dns/{part(config)}/check{which}")
    if as_json:
        show_json(found)
    else:
        show_table(found["items"], ("subject", "ok", "detail"))
    if not found["ok"]:
        raise typer.Exit(FAILED)


@app.command()
@listed(*HISTORY, wide=("at",))
def history(
    client: Client,
    config: Config,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="Number of entries to skip.")] = 0,
) -> ListResult:
    """Show what changed at the config's names, who asked for it and why; newest first."""
    found = client.get(f"/api/dns/{part(config)}/history", limit=limit, offset=offset)["items"]
    return ListResult(found, [{**each, "age": age_cell(each["at"])} for each in found])


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    for name in (*found["names"], *found["withdrawals"]):
        _show_one(name, as_json=False)


def _show_one(name: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(name)
        return
    plan = name["plan"]
    show_fields(
        {
            **{field: name[field] for field in FIELDS},
            "wanted": plan["wanted"],
            "note": plan["note"],
            "differences": plan["differences"],
            "drift": plan["drift"],
        },
        as_json=False,
    )

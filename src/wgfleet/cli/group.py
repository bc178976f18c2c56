"""`wgfleet group`: node groups, for placement."""

from typing import Annotated

import typer

from wgfleet.cli.arguments import Group
from wgfleet.cli.asking import DryRun
from wgfleet.cli.client import Client, given, panel, part
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.deleting import deleted
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, show_json, show_table
from wgfleet.cli.tree import commands
from wgfleet.cli.waiting import RelayHours, Wait, show_group_departure, show_operation

app = commands()

Region = Annotated[str | None, typer.Option(help="Where it is; for display only.")]
Priority = Annotated[int | None, typer.Option(help="Lower is filled first.")]
Site = Annotated[str | None, typer.Option(help="Site that fails as a whole, such as a data center; '': none.")]


@app.command("list")
@listed("name", "priority", "region", "site", wide=("id",))
def list_groups(client: Client) -> ListResult:
    """List node groups."""
    return ListResult(client.all("/api/node-groups"))


@app.command()
def show(group: Group, *, as_json: AsJson = False) -> None:
    """Show a node group."""
    with panel() as client:
        show_fields(client.get(f"/api/node-groups/{part(group)}"), as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new group.")],
    *,
    region: Region = None,
    priority: Priority = None,
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """Create a node group."""
    with panel() as client:
        made = client.call("POST", "/api/node-groups", given(name=name, region=region, priority=priority, site=site))
        show_fields(made, as_json=as_json)


@app.command()
def update(
    group: Group,
    *,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    region: Region = None,
    priority: Priority = None,
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """Change a node group; options that are not given keep their values."""
    with panel() as client:
        changed = client.change(
            f"/api/node-groups/{part(group)}", given(name=name, region=region, priority=priority, site=site)
        )
        show_fields(changed, as_json=as_json)


@app.command()
def delete(group: Group, *, _yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete an empty node group."""
    with panel() as client:
        client.call("DELETE", f"/api/node-groups/{part(group)}")
    deleted(f"node group {group} was deleted", "node_group", group, as_json=as_json)


@app.command()
def drain(
    group: Group,
    *,
    wait: Wait = False,
    force: Annotated[bool, typer.Option("--force", help="Even if too few nodes or too little room is left.")] = False,
    relay_hours: RelayHours = 0.0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Cordon the nodes of a group and drain them one by one; they stay assigned."""
    with panel() as client:
        path = f"/api/node-groups/{part(group)}"
        if dry_run:
            show_group_departure(client, path, relay_hours, as_json=as_json)
            return
        operation = client.call("POST", f"{path}/drain", force=force, relay_s=relay_hours * 3600)
        show_operation(client, operation, wait=wait, as_json=as_json)


@app.command()
def uncordon(group: Group, *, as_json: AsJson = False) -> None:
    """Allow new placements and stop the drain; `config rebalance` moves peers back."""
    with panel() as client:
        freed = client.call("POST", f"/api/node-groups/{part(group)}/uncordon")["items"]
        if as_json:
            show_json(freed)
        else:
            show_table(freed, ("name", "cordoned", "peers"))

"""`wgfleet device`: devices of one's own, for who signed in with `wgfleet login --user`."""

from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.arguments import Device
from wgfleet.cli.client import Client, panel, part
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.deleting import deleted
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, Output, age_cell
from wgfleet.cli.peer_files import Format, check_format, save
from wgfleet.cli.tree import commands

app = commands()
COLUMNS = ("name", "addresses", "enabled", "made")


@app.command("list")
@listed(*COLUMNS, wide=("id",))
def list_devices(client: Client) -> ListResult:
    """List your devices."""
    found = client.all("/api/me/devices")
    return ListResult(found, [{**each, "made": age_cell(each["created_at"])} for each in found])


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new device, shown after your own.")],
    *,
    config: Annotated[str | None, typer.Option(help="Config, where you may have devices in several.")] = None,
    public_key: Annotated[str | None, typer.Option(help="A key of your own; without, the panel makes one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a device, as many as you may have."""
    with panel() as client:
        made = client.call("POST", "/api/me/devices", {"name": name, "config": config, "public_key": public_key})
    show_fields(made, as_json=as_json)


@app.command()
def file(device: Device, *, platform: Format = "conf", output: Output = None) -> None:
    """Print the file of a device of yours, with its key; or what a platform imports."""
    check_format(platform, output)
    with panel() as client:
        save(client, f"/api/me/devices/{_id(client, device)}/file", platform, None, output)


@app.command()
def rotate(device: Device, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Give a device of yours new keys; its present file stops working."""
    if not yes:
        go_on("The present file stops working. Go on?")
    with panel() as client:
        show_fields(client.call("POST", f"/api/me/devices/{_id(client, device)}/rotate", {}), as_json=as_json)


@app.command()
def delete(device: Device, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a device of yours: it is cut off."""
    with panel() as client:
        found = client.get(f"/api/me/devices/{_id(client, device)}")
        if not yes:
            go_on(f"Delete {found['name']}?")
        client.call("DELETE", f"/api/me/devices/{_id(client, device)}")
    deleted(f"{found['name']} is deleted", "device", found["name"], found["id"], as_json=as_json)


def _id(client: Client, reference: str) -> str:
    """Return the id of a device of the caller's, for a path."""
    return part(references.identifier(client, "/api/me/devices", reference, ("name",), "name"))

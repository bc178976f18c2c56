"""`wgfleet user`: people who sign in, their roles, and who is signed in."""

from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.arguments import SignIn, SomeUser, User
from wgfleet.cli.client import Client, Document, panel, part
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.deleting import deleted
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, age_cell, say, short, show_json
from wgfleet.cli.tree import commands

app = commands()
COLUMNS = ("name", "role", "disabled", "password", "second_factor", "sign_ins", "signed_in")
SIGN_IN_COLUMNS = ("id", "user", "used", "address", "program")

ROLES = "admin, operator, viewer or self-service."
Role = Annotated[str, typer.Option(help=ROLES)]
Configs = Annotated[
    list[str] | None, typer.Option("--config", help="Config that the rights are limited to; repeatable.")
]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="Node group that the rights are limited to; repeatable.")
]
Devices = Annotated[int | None, typer.Option(min=0, help="How many devices of its own the user may have.")]


@app.command("list")
@listed(*COLUMNS, wide=("id",))
def list_users(client: Client) -> ListResult:
    """List the people who sign in."""
    found = client.all("/api/users")
    return ListResult(
        found,
        [{**each, "password": each["has_password"], "signed_in": age_cell(each.get("signed_in_at"))} for each in found],
    )


@app.command()
def show(user: User, *, as_json: AsJson = False) -> None:
    """Show a user."""
    with panel() as client:
        show_fields(client.get(f"/api/users/{part(user)}"), as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new user.")],
    *,
    role: Role = "viewer",
    config: Configs = None,
    group: Groups = None,
    devices: Devices = None,
    as_json: AsJson = False,
) -> None:
    """Create a user; prints the link with which the user sets a password, once."""
    body = {"name": name, "role": role, "configs": config or None, "node_groups": group or None}
    with panel() as client:
        made = client.call("POST", "/api/users", body | {"device_limit": devices})
    _show_link(made, as_json=as_json)


@app.command()
def update(
    user: User,
    *,
    role: Annotated[str | None, typer.Option(help=ROLES)] = None,
    config: Configs = None,
    group: Groups = None,
    no_limit: Annotated[bool, typer.Option("--no-limit", help="Limited to nothing.")] = False,
    devices: Devices = None,
    disabled: Annotated[
        bool | None,
        typer.Option(
            "--disable/--enable", help="Sign the user out, switch the user's devices off, let nobody in under the name."
        ),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give a user another role or limit, or disable it for a while; says first what ends with that, and asks."""
    wanted = {
        "role": role,
        "disabled": disabled,
        "configs": config or None,
        "node_groups": group or None,
        "device_limit": devices,
    }
    changes: dict[str, object] = {name: value for name, value in wanted.items() if value is not None}
    if no_limit:
        changes |= {"configs": None, "node_groups": None}
    if not changes:
        raise typer.BadParameter(
            "nothing to change: give --role, --config, --group, --no-limit, --devices, --disable or --enable"
        )
    with panel() as client:
        if not yes and (ends := _ends(client.get(f"/api/users/{part(user)}"), changes)):
            go_on(f"Change {user} ({', '.join(ends)})?")
        show_fields(client.change(f"/api/users/{part(user)}", changes), as_json=as_json)


def _ends(found: Document, changes: Document) -> list[str]:
    """Say what of a user ends with a change."""
    begun = found.get("operations") or 0
    if changes.get("disabled") and not found["disabled"]:
        said = {
            f"{found['sign_ins']} sign-ins end": found["sign_ins"],
            f"{found['devices']} devices are switched off": found["devices"],
            f"{begun} operations that the user began stop": begun,
        }
        return [text for text, count in said.items() if count]
    less = not changes.keys().isdisjoint({"role", "configs", "node_groups"})
    return [f"{begun} operations that the user began stop where the user may do that no more"] if less and begun else []


@app.command()
def delete(user: User, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a user, who is signed out at once."""
    with panel() as client:
        found = client.get(f"/api/users/{part(user)}")
        if not yes:
            begun = f"; {found['operations']} operations that the user began stop" if found.get("operations") else ""
            go_on(
                f"Delete {found['role']} {found['name']} ({found['sign_ins']} sign-ins end, and {found['devices']} "
                f"devices are deleted{begun})?"
            )
        client.call("DELETE", f"/api/users/{part(user)}?devices=delete")
    deleted(f"{found['name']} is deleted", "user", found["name"], found["id"], as_json=as_json)


@app.command()
def link(user: User, *, as_json: AsJson = False) -> None:
    """Make a link with which the user sets a new password, once."""
    with panel() as client:
        made = client.call("POST", f"/api/users/{part(user)}/password-link")
    _show_link({"name": user, **made}, as_json=as_json)


@app.command()
def remove_second_factor(user: User, *, yes: Yes = False) -> None:
    """Have the password alone let a user in who has lost the device and the recovery codes."""
    with panel() as client:
        found = client.get(f"/api/users/{part(user)}")
        if not yes:
            go_on(f"Ask {found['name']} for nothing but the password?")
        client.call("DELETE", f"/api/users/{part(user)}/second-factor")
    say(f"{found['name']} signs in with the password alone")


@app.command()
@listed(*SIGN_IN_COLUMNS, wide=("whole_id", "created_at", "expires_at"))
def sign_ins(client: Client, user: SomeUser = None) -> ListResult:
    """List who is signed in, and from where."""
    found = client.all("/api/sign-ins", user=user)
    rows = [
        {
            **each,
            "id": short(each["id"]),
            "whole_id": each["id"],
            "user": each["user_name"],
            "used": age_cell(each["last_used_at"]),
        }
        for each in found
    ]
    return ListResult(found, rows)


@app.command()
def sign_out(
    sign_in: SignIn,
) -> None:
    """End a sign-in."""
    with panel() as client:
        identifier = references.identifier(client, "/api/sign-ins", sign_in, ("user_name", "address"))
        client.call("DELETE", f"/api/sign-ins/{part(identifier)}")
    say("signed out")


def _show_link(made: Document, *, as_json: bool) -> None:
    if as_json:
        show_json(made)
        return
    until = made.get("expires_at") or made["link_expires_at"]
    say(f"{made['name']} sets a password here, once, until {until[:16].replace('T', ' ')} UTC:", err=True)
    say(made.get("address") or made["link"])

"""`wgfleet user`: people who sign in, their roles, and who is signed in."""

from typing import Annotated

import typer

from wgfleet.cli.asking import Yes
from wgfleet.cli.client import CallFailed, Document, panel, part
from wgfleet.cli.output import AsJson, age, say, show_fields, show_json, show_table

app = typer.Typer(no_args_is_help=True)
COLUMNS = ("name", "role", "disabled", "has_password", "second_factor", "sign_ins", "signed_in_at")
SIGN_IN_COLUMNS = ("id", "user_name", "address", "program", "used")

User = Annotated[str, typer.Argument(help="Name or id of the user.")]
Role = Annotated[str, typer.Option(help="admin, operator or viewer.")]


@app.command("list")
def list_users(*, as_json: AsJson = False) -> None:
    """List the people who sign in."""
    with panel() as client:
        show_table(client.all("/api/users"), COLUMNS, as_json=as_json)


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
    as_json: AsJson = False,
) -> None:
    """Create a user; prints the secret of the link with which the user sets a password, once."""
    with panel() as client:
        made = client.call("POST", "/api/users", {"name": name, "role": role})
    _show_link(made, as_json=as_json)


@app.command()
def update(
    user: User,
    *,
    role: Annotated[str | None, typer.Option(help="admin, operator or viewer.")] = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Sign the user out, and let nobody in under the name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a user another role, or disable it for a while."""
    changes = {name: value for name, value in (("role", role), ("disabled", disabled)) if value is not None}
    if not changes:
        raise typer.BadParameter("nothing to change: give --role, --disable or --enable")
    with panel() as client:
        show_fields(client.call("PATCH", f"/api/users/{part(user)}", changes), as_json=as_json)


@app.command()
def delete(user: User, *, yes: Yes = False) -> None:
    """Delete a user, who is signed out at once."""
    with panel() as client:
        found = client.get(f"/api/users/{part(user)}")
        if not yes and not typer.confirm(
            f"Delete {found['role']} {found['name']} ({found['sign_ins']} sign-ins end)?", err=True
        ):
            raise CallFailed("nothing was deleted")
        client.call("DELETE", f"/api/users/{part(user)}")
    say(f"{found['name']} is deleted")


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
        if not yes and not typer.confirm(f"Ask {found['name']} for nothing but the password?", err=True):
            raise CallFailed("nothing was changed")
        client.call("DELETE", f"/api/users/{part(user)}/second-factor")
    say(f"{found['name']} signs in with the password alone")


@app.command()
def sign_ins(
    user: Annotated[str | None, typer.Argument(help="Only those of this user.")] = None, *, as_json: AsJson = False
) -> None:
    """List who is signed in, and from where."""
    with panel() as client:
        found = client.all("/api/sign-ins", user=user)
    rows = found if as_json else [{**each, "used": age(each["last_used_at"])} for each in found]
    show_table(rows, SIGN_IN_COLUMNS, as_json=as_json)


@app.command()
def sign_out(sign_in: Annotated[str, typer.Argument(help="Id of the sign-in.")]) -> None:
    """End a sign-in."""
    with panel() as client:
        client.call("DELETE", f"/api/sign-ins/{part(sign_in)}")
    say("signed out")


def _show_link(made: Document, *, as_json: bool) -> None:
    if as_json:
        show_json(made)
        return
    say(f"{made['name']} sets a password with this link, once:", err=True)
    say(made["link"])

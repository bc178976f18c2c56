"""`wgfleet logout`: end what `wgfleet login` began."""

import os
from http import HTTPStatus

import typer

from wgfleet.cli import connection
from wgfleet.cli.client import USAGE, CallFailed, Client, panel
from wgfleet.cli.connection import ConnectionSettingsError
from wgfleet.cli.output import say
from wgfleet.cli.tree import complain, single

app = single()


@app.command()
def logout() -> None:
    """End the sign-in of a user at the panel, and forget the token or the API key on this machine.

    An API key itself goes on working: `wgfleet key delete` revokes it.
    """
    # What was stored, whatever key the environment has.
    stored = {name: value for name, value in os.environ.items() if name != "WGFLEET_API_KEY"}
    try:
        access = connection.load(stored)
    except ConnectionSettingsError as error:
        complain(error)
        raise typer.Exit(USAGE) from None
    with panel(access) as client:
        done = _ended(client)
    connection.forget_key(stored)
    say(done)


def _ended(client: Client) -> str:
    """End the sign-in, if it is one that lasts; say what was done."""
    try:
        me = client.get("/api/me")
    except CallFailed as refused:
        if refused.status != HTTPStatus.UNAUTHORIZED:
            raise
        return "it had ended before, and is forgotten here"
    if me["sign_in_id"] is None:
        return f"the key {me['name']} is forgotten here; it still works"
    client.call("DELETE", f"/api/me/sign-ins/{me['sign_in_id']}")
    return f"{me['name']} is signed out"

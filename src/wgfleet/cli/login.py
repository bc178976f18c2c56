"""`wgfleet login`: which panel the commands talk to, and with which key."""

import os
from pathlib import Path
from typing import Annotated

import typer

from wgfleet.agent.enrollment.ca import TrustError, fetch_ca
from wgfleet.cli import browser_sign_in, connection
from wgfleet.cli.client import UNREACHABLE, CallFailed, panel
from wgfleet.cli.confirmation import ask_secret
from wgfleet.cli.connection import DEFAULT_URL, PanelAccess
from wgfleet.cli.output import say
from wgfleet.cli.tree import complain, single
from wgfleet.doors.panel_url import panel_url, without_name
from wgfleet.protocol.quotes import quoted

app = single()


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="Address of the panel.", envvar="WGFLEET_URL")] = DEFAULT_URL,
    *,
    ca_fingerprint: Annotated[str | None, typer.Option(help="Fetch the panel's CA and check it against this.")] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="CA certificates to check the panel against.", exists=True)
    ] = None,
    user: Annotated[str | None, typer.Option(help="Sign in as this user, with password, rather than a key.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="Sign in with this OpenID provider, in a browser on this machine.")
    ] = None,
    allow_plain_http: Annotated[
        bool, typer.Option("--allow-plain-http", help="Send the key without TLS to another machine; the way is safe.")
    ] = False,
) -> None:
    """Store a panel's address and an API key, or the token of a user's sign-in, in a file that only you can read.

    The key or password is asked for, or read from standard input; so is the code of a second factor. With a provider
    an address is printed instead, for a browser on this machine.
    """
    if panel_url(url) is None:
        raise typer.BadParameter(
            f"{quoted(without_name(url))} is not an address such as https://panel.example.com:8443", param_hint="URL"
        )
    with panel(PanelAccess(url, None, ca_file, allow_plain_http), sends_secret=True):
        pass  # a way that may not be used is refused before the secret is asked for
    try:
        ca = None if ca_fingerprint is None else fetch_ca(url, ca_fingerprint, lambda words: say(words, err=True))
    except TrustError as error:
        complain(error)
        raise typer.Exit(UNREACHABLE) from None
    if ca is not None:
        ca_file = connection.save_ca(ca, os.environ)
    url = url.rstrip("/")
    if provider is not None:
        if user is not None:
            raise typer.BadParameter("a provider says who you are; leave --user out", param_hint="--provider")
        with panel(PanelAccess(url, None, ca_file, allow_plain_http), sends_secret=True) as client:
            key = browser_sign_in.sign_in(client, provider)
    else:
        secret = ask_secret("API key" if user is None else f"Password of {user}")
        key = secret.strip() if user is None else _token(url, ca_file, user, secret, plain_http=allow_plain_http)
    wanted = PanelAccess(url, key, ca_file, allow_plain_http)
    with panel(wanted) as client:
        me = client.get("/api/me")
        sees_nodes = {"read", "admin"} & set(me["scopes"])
        nodes = client.get("/api/nodes?limit=1")["items"] if sees_nodes else None
    written = connection.save(wanted, os.environ)
    if nodes == []:
        typer.echo("this panel has no nodes yet: wgfleet node create NAME --endpoint ADDRESS", err=True)
    who = f"user {me['name']}" if me["kind"] == "user" else f"key {me['name']} ({', '.join(me['scopes'])})"
    say(f"{url} is the panel of all commands from now on, as {who}; written to {written}")


def _token(url: str, ca_file: Path | None, user: str, password: str, *, plain_http: bool) -> str:
    """Sign a user in; ask for a code where the panel wants one."""
    credentials = {"name": user, "password": password}
    with panel(PanelAccess(url, None, ca_file, plain_http), sends_secret=True) as client:
        try:
            made = client.call("POST", "/api/sign-in", credentials)
        except CallFailed as refused:
            if refused.field != "code":
                raise
            code = ask_secret("Code of the authenticator app, or a recovery code").strip()
            made = client.call("POST", "/api/sign-in", {**credentials, "code": code})
    return str(made["token"])

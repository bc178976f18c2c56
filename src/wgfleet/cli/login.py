"""`wgfleet login`: which panel the commands talk to, and with which key."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from wgfleet.agent.enrollment.ca import TrustError, fetch_ca
from wgfleet.cli import connection
from wgfleet.cli.client import UNREACHABLE, USAGE, panel
from wgfleet.cli.connection import DEFAULT_URL, PanelAccess
from wgfleet.cli.output import say
from wgfleet.cli.tree import single

app = single()


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="Address of the panel.")] = DEFAULT_URL,
    *,
    ca_fingerprint: Annotated[str | None, typer.Option(help="Fetch the panel's CA and check it against this.")] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="CA certificates to check the panel against.", exists=True)
    ] = None,
    allow_plain_http: Annotated[
        bool, typer.Option("--allow-plain-http", help="Send the key without TLS to another machine; the way is safe.")
    ] = False,
) -> None:
    """Store a panel's address and an API key in a file that only you can read.

    The key is asked for, or read from standard input.
    """
    key = typer.prompt("API key", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not key:
        typer.echo("error: no API key on standard input", err=True)
        raise typer.Exit(USAGE)
    try:
        ca = None if ca_fingerprint is None else fetch_ca(url, ca_fingerprint, lambda words: say(words, err=True))
    except TrustError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(UNREACHABLE) from None
    if ca is not None:
        ca_file = connection.save_ca(ca, os.environ)
    wanted = PanelAccess(url.rstrip("/"), key, ca_file, allow_plain_http)
    with panel(wanted) as client:
        nodes = client.get("/api/nodes?limit=1")["items"]
    written = connection.save(wanted, os.environ)
    if not nodes:
        typer.echo("this panel has no nodes yet: wgfleet node create NAME --endpoint ADDRESS", err=True)
    typer.echo(f"written to {written}")

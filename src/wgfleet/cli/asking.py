"""Questions before dangerous commands: what one would do to whom, asked of the panel, and whether to go on."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from wgfleet.cli.client import CallFailed, Client, Document
from wgfleet.cli.confirmation import go_on
from wgfleet.cli.output import say

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and change nothing.")]


def ask(
    client: Client,
    path: str,
    body: Document | None,
    *,
    yes: bool,
    dry_run: bool,
    force: bool = False,
    **query: Any,
) -> None:
    """Say what a change by `body`, or a deletion (None), would mean, and ask where anybody would notice.

    Ends the command where it is not to be made. With `yes` a panel that cannot tell, such as an older one, is no
    obstacle. `query`: more parameters of the call.
    """
    ask_about(client, [(path, body)], yes=yes, dry_run=dry_run, force=force, **query)


def ask_about(
    client: Client,
    changes: Sequence[tuple[str, Document | None]],
    *,
    yes: bool,
    dry_run: bool,
    force: bool = False,
    **query: Any,
) -> None:
    """As `ask`, of several changes, with one question."""
    effects: list[str] = []
    try:
        for path, body in changes:
            if body is None:
                effects += client.get(f"{path}/deletion", force=force or None, **query)["effects"]
            else:
                effects += client.call("POST", f"{path}/preview", body, force=force or None, **query)["effects"]
    except CallFailed:
        if dry_run or not yes:
            raise
        return
    for effect in effects:
        say(f"{effect}", err=True)
    if dry_run:
        say("nothing was changed" if effects else "nobody would notice; nothing was changed", err=True)
        raise typer.Exit
    if effects and not yes:
        go_on()

"""The question whether to go on, asked in one way by all commands, with the panel or without."""

import sys
from typing import Annotated

import typer

from wgfleet.cli.output import say

USAGE = 2
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def go_on(question: str = "Go on?") -> None:
    """Ask whether to go on, and end the command if not, or where nobody can be asked."""
    if not sys.stdin.isatty():
        say(question, err=True)
        say("error: nobody can be asked here; repeat with --yes to go on", err=True)
        raise typer.Exit(USAGE)
    typer.confirm(question, abort=True, err=True)

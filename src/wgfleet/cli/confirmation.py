"""Questions that are asked in one way by all commands, with the panel or without: whether to go on, and secrets."""

import sys
from typing import Annotated

import typer

from wgfleet.cli.output import say
from wgfleet.protocol.quotes import shortened

USAGE = 2
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def go_on(question: str = "Go on?") -> None:
    """Ask whether to go on, and end the command if not, or where nobody can be asked."""
    question = shortened(question)
    if not sys.stdin.isatty():
        say(question, err=True)
        say("error: nobody can be asked here; repeat with --yes to go on", err=True)
        raise typer.Exit(USAGE)
    typer.confirm(question, abort=True, err=True)


def ask_secret(what: str, *, new: bool = False) -> str:
    """Ask at a terminal, without showing what is typed; elsewhere take the next line of standard input.

    `new`: it is made up here, and asked for twice.
    """
    if sys.stdin.isatty():
        given = typer.prompt(what, hide_input=True, confirmation_prompt=new, err=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        say(f"error: no {what} on standard input; type it at a terminal, or give it from a file: ... < FILE", err=True)
        raise typer.Exit(USAGE)
    return str(given)

"""`--watch`: the same output again and again, until Ctrl-C; drawn in place on a terminal, as lines in a pipe."""

import contextlib
import io
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from wgfleet.cli import output
from wgfleet.cli.client import UNREACHABLE, CallFailed
from wgfleet.cli.streams import wait

EVERY_S = 2.0

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Again every 2 seconds, until Ctrl-C.")]


def draw(once: Callable[[], None], *, watch: bool) -> None:
    """Print by calling `once`; with `watch` again and again. A panel that does not answer meanwhile is waited for."""
    if not watch:
        once()
        return
    screen = output.console()
    with contextlib.suppress(KeyboardInterrupt):
        if screen.is_terminal:
            _in_place(once, screen)
        else:
            _as_lines(once)


def _in_place(once: Callable[[], None], screen: Console) -> None:
    with Live(console=screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            live.update(Text.from_ansi(_drawn(once, screen)), refresh=True)
            time.sleep(EVERY_S)


def _as_lines(once: Callable[[], None]) -> None:
    """Print what has changed since the last time, as a whole."""
    before = None
    while True:
        shown = _drawn(once, None)
        if shown != before:
            typer.echo(shown)
            before = shown
        wait(EVERY_S)


def _drawn(once: Callable[[], None], screen: Console | None) -> str:
    """Return what a call prints, as it would on a screen (None: in a pipe)."""
    paper = io.StringIO()
    with contextlib.redirect_stdout(paper), contextlib.redirect_stderr(paper), output.drawn_for(screen):
        try:
            once()
        except CallFailed as failed:
            if failed.exit_code != UNREACHABLE:
                raise
            typer.echo(f"error: {failed}")
    return paper.getvalue().rstrip("\n")

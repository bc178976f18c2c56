"""Options, output and endings that the commands of the lab have in common."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from wgfleet.cli.tree import complain
from wgfleet.lab import state
from wgfleet.lab.errors import LabError
from wgfleet.lab.requirements import check_machine

DEFAULT_NAME = "lab"
FAILED, NOT_AS_PROMISED = 1, 3
NOTHING_LEFT = "; nothing is left behind"

Name = Annotated[str, typer.Option("--name", help="Name of the lab; one lab at a time.")]
Nodes = Annotated[int, typer.Option(min=0, help="Servers with an agent.")]
Clients = Annotated[int, typer.Option(min=0, help="Devices with a stock WireGuard.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
Logs = Annotated[Path | None, typer.Option(help="Copy the hosts' logs to this directory at the end.")]


@contextmanager
def reported(*, left: str = "") -> Iterator[None]:
    """Report an error in one line. SIGTERM and Ctrl-C stop in order and report what is `left`."""

    def end(number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt(number)

    for number in state.ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, end)
    try:
        check_machine()
        yield
    except LabError as error:
        complain(error)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        typer.echo(f"interrupted{left}", err=True)
        raise typer.Exit(130) from None


def show_document(document: dict[str, Any]) -> None:
    """Print one JSON object, for programs."""
    typer.echo(json.dumps(document, indent=2))

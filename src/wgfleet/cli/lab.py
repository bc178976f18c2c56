"""`wgfleet lab`: a network of namespaces with real WireGuard on this machine. Thin over `wgfleet.lab`."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from wgfleet.cli import lab_run
from wgfleet.cli.lab_command import (
    DEFAULT_NAME,
    NOT_AS_PROMISED,
    NOTHING_LEFT,
    Clients,
    Json,
    Logs,
    Name,
    Nodes,
    reported,
    show_document,
)
from wgfleet.cli.tree import commands
from wgfleet.lab import assembly, fleet, state
from wgfleet.lab import demo as demonstration
from wgfleet.lab.assembly import Equipment
from wgfleet.lab.errors import LabError
from wgfleet.lab.progress import Progress
from wgfleet.protocol.quotes import quoted

app = commands()

HostName = Annotated[str, typer.Argument(help="panel, node-1, client-1, ...")]


@app.command()
def up(
    name: Name = DEFAULT_NAME, nodes: Nodes = 3, clients: Clients = 3, *, logs: Logs = None, as_json: Json = False
) -> None:
    """Build a lab and leave it running: router, panel, nodes, clients connected to wg0."""
    with reported(left=NOTHING_LEFT), state.lasting(name, nodes, clients, logs=logs) as lab:
        assembly.assemble(lab, Progress(), Equipment(name=True))
    if as_json:
        show_document(lab.result)
    else:
        _show(lab)


@app.command()
def down(name: Name = DEFAULT_NAME) -> None:
    """Remove a lab and everything of it, also what killed labs have left."""
    with reported(), state.locked():
        there = name in state.found()
        state.remove(name)
        others = state.clear()
    up = f"; up is {', '.join(others)}" if others else ""
    typer.echo(f"lab {name} is removed" if there else f"there is no lab {name}{up}", err=True)


@app.command()
def show(name: Name = DEFAULT_NAME, *, as_json: Json = False) -> None:
    """Show a lab that is up."""
    with reported():
        lab = state.load(name)
        if as_json:
            show_document(lab.result)
        else:
            _show(lab)


def _logged_in(lab: state.Lab) -> dict[str, str]:
    """Return an environment in which this program is found, and knows the lab's panel.

    Hosts have a /run of their own, so they find the CA by way of this process, which waits for the command's end.
    """
    found = {"WGFLEET_URL": "panel_url", "WGFLEET_API_KEY": "api_key"}
    access = {variable: str(lab.result[name]) for variable, name in found.items() if name in lab.result}
    if "ca_file" in lab.result:
        access["WGFLEET_CA_FILE"] = f"/proc/{os.getpid()}/root{lab.result['ca_file']}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, **access, "PATH": path}


def _show(lab: state.Lab) -> None:
    table = Table("host", "address", "tunnel", "namespace", "id")
    table.add_row("panel", lab.host("panel").address, "", lab.host("panel").namespace, "")
    for entry in [*lab.result["nodes"], *lab.result["clients"]]:
        table.add_row(entry["name"], entry["address"], entry.get("tunnel_address", ""), entry["namespace"], entry["id"])
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(table)
    console.print(f"panel:   {lab.result['panel_url']} (its CA: {lab.result['ca_file']})", soft_wrap=True)
    console.print(f"API key: {lab.result['api_key']}", soft_wrap=True)
    console.print(f"look in: wgfleet lab exec --name {lab.name} node-1 -- wg show", soft_wrap=True)
    console.print(f"ask it:  wgfleet lab exec --name {lab.name} panel -- wgfleet status", soft_wrap=True)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    host: HostName,
    command: Annotated[list[str], typer.Argument(help="What to run there, behind --.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Run a command in a host, for example: wgfleet lab exec node-1 -- wg show.

    On the panel `wgfleet` is found and logged in: wgfleet lab exec panel -- wgfleet status.
    """
    with reported():
        lab = state.load(name)
        code = lab.host(host).attach(command, _logged_in(lab))
    raise typer.Exit(code)


@app.command()
def cut(host: HostName, name: Name = DEFAULT_NAME) -> None:
    """Pull a host's cable."""
    with reported():
        state.load(name).cut(host)


@app.command()
def reconnect(host: HostName, name: Name = DEFAULT_NAME) -> None:
    """Put a host's cable back."""
    with reported():
        state.load(name).reconnect(host)


@app.command()
def kill(
    host: HostName,
    only: Annotated[str, typer.Option(help="Only what has this in its command line, e.g. `wgfleet.agent`.")] = "",
    name: Name = DEFAULT_NAME,
) -> None:
    """Kill all processes of a host with SIGKILL, as a power cut would."""
    with reported():
        target = state.load(name).host(host)
        killed = len(target.signal(signal.SIGKILL, only)) if only else fleet.power_off(target)
        if only and not killed:
            raise LabError(
                f"{host} runs nothing with {quoted(only)} in its command line; see: wgfleet lab exec {host} -- ps ax"
            )
    typer.echo(f"killed {killed} processes of {host}", err=True)


@app.command()
def start(host: HostName, name: Name = DEFAULT_NAME) -> None:
    """Start the panel or a node's agent again, after it was killed."""
    with reported():
        lab = state.load(name)
        fleet.start_again(lab.host(host), lab)


app.command()(lab_run.run)


@app.command()
def demo(
    name: Name = "demo",
    clients: Annotated[int, typer.Option(min=1, max=50, help="Devices with a stock WireGuard.")] = 6,
    logs: Logs = None,
) -> None:
    """Show the main job: one stock file per user that survives the removal of its node."""
    with reported(left=NOTHING_LEFT), state.temporary(name, demonstration.NODES, clients, logs=logs) as lab:
        kept = demonstration.run(lab, Progress(), Console(highlight=False, soft_wrap=True, emoji=False))
    if not kept:
        raise typer.Exit(NOT_AS_PROMISED)

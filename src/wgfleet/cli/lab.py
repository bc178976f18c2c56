"""`wgfleet lab`: a network of namespaces with real WireGuard on this machine. Thin over `wgfleet.lab`."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from wgfleet.lab import assembly, bird, face, fleet, state
from wgfleet.lab import demo as demonstration
from wgfleet.lab.assembly import Equipment
from wgfleet.lab.errors import LabError
from wgfleet.lab.progress import Progress, readable
from wgfleet.lab.requirements import check_machine
from wgfleet.lab.scenarios import SCENARIOS, Scenario
from wgfleet.lab.scenarios.options import Kind, ScenarioOptions
from wgfleet.lab.weather import CALM, Weather

app = typer.Typer(no_args_is_help=True)
DEFAULT_NAME = "lab"
ROUTED_SCENARIOS = ("failover", "drain", "agent-down", "soak")
FAILED, NOT_AS_PROMISED = 1, 3
NOTHING_LEFT = "; nothing is left behind"

Name = Annotated[str, typer.Option("--name", help="Name of the lab; one lab at a time.")]
Nodes = Annotated[int, typer.Option(min=0, help="Servers with an agent.")]
Clients = Annotated[int, typer.Option(min=0, help="Devices with a stock WireGuard.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
Logs = Annotated[Path | None, typer.Option(help="Copy the hosts' logs to this directory at the end.")]
KillProcesses = Annotated[
    bool,
    typer.Option(
        "--kill", help="Kill everything on the node, instead of cutting its cable (failover) or draining it (rolling)."
    ),
]
AddressProviders = Annotated[
    str, typer.Option("--provider", help=f"What brings floating addresses to nodes: {', '.join(face.ADDRESSES)}.")
]
Takeover = Annotated[
    bool, typer.Option("--takeover/--without-takeover", help="Without: clients reconnect on their own (failover).")
]
Kinds = Annotated[
    Kind | None,
    typer.Option(help="Stop a node's WireGuard and agent, its WireGuard alone, or pull its cable for --away (return)."),
]
Away = Annotated[float, typer.Option(min=0.1, max=300, help="For how many seconds (return --kind).")]
Percent = Annotated[float, typer.Option(min=0, max=90, help="Percent of packets lost, each way (failover, steady).")]
Delay = Annotated[float, typer.Option(min=0, max=4000, help="Milliseconds added to round trips (failover, steady).")]
Jitter = Annotated[float, typer.Option(min=0, max=4000, help="Up to that much more, at random (failover, steady).")]
Starve = Annotated[
    float, typer.Option(min=0, max=95, help="Percent of the time that nodes stand still (failover, steady).")
]
PausePanel = Annotated[
    float, typer.Option(min=0, max=60, help="Stop the panel for that many seconds, three times a minute (steady).")
]
HostName = Annotated[str, typer.Argument(help="panel, node-1, client-1, ...")]


@contextmanager
def _reported(*, left: str = "") -> Iterator[None]:
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
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        typer.echo(f"interrupted{left}", err=True)
        raise typer.Exit(130) from None


def _print(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=2))


@app.command()
def up(
    name: Name = DEFAULT_NAME, nodes: Nodes = 3, clients: Clients = 3, *, logs: Logs = None, as_json: Json = False
) -> None:
    """Build a lab and leave it running: router, panel, nodes, clients connected to wg0."""
    with _reported(left=NOTHING_LEFT), state.lasting(name, nodes, clients, logs=logs) as lab:
        assembly.assemble(lab, Progress(), Equipment(name=True))
    if as_json:
        _print(lab.result)
    else:
        _show(lab)


@app.command()
def down(name: Name = DEFAULT_NAME) -> None:
    """Remove a lab and everything of it, also what killed labs have left."""
    with _reported(), state.locked():
        there = name in state.found()
        state.remove(name)
        others = state.clear()
    up = f"; up is {', '.join(others)}" if others else ""
    typer.echo(f"lab {name} is removed" if there else f"there is no lab {name}{up}", err=True)


@app.command()
def show(name: Name = DEFAULT_NAME, *, as_json: Json = False) -> None:
    """Show a lab that is up."""
    with _reported():
        lab = state.load(name)
        if as_json:
            _print(lab.result)
        else:
            _show(lab)


def _show(lab: state.Lab) -> None:
    table = Table("host", "address", "tunnel", "namespace", "id")
    table.add_row("panel", lab.host("panel").address, "", lab.host("panel").namespace, "")
    for entry in [*lab.result["nodes"], *lab.result["clients"]]:
        table.add_row(entry["name"], entry["address"], entry.get("tunnel_address", ""), entry["namespace"], entry["id"])
    console = Console(highlight=False)
    console.print(table)
    console.print(f"panel:   {lab.result['panel_url']} (its CA: {lab.result['ca_file']})", soft_wrap=True)
    console.print(f"API key: {lab.result['api_key']}", soft_wrap=True)
    console.print(f"look in: wgfleet lab exec --name {lab.name} node-1 -- wg show", soft_wrap=True)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(host: HostName, command: list[str], name: Name = DEFAULT_NAME) -> None:
    """Run a command in a host, for example: wgfleet lab exec node-1 -- wg show."""
    with _reported():
        code = state.load(name).host(host).attach(command)
    raise typer.Exit(code)


@app.command()
def cut(host: HostName, name: Name = DEFAULT_NAME) -> None:
    """Pull a host's cable."""
    with _reported():
        state.load(name).cut(host)


@app.command()
def reconnect(host: HostName, name: Name = DEFAULT_NAME) -> None:
    """Put a host's cable back."""
    with _reported():
        state.load(name).reconnect(host)


@app.command()
def kill(
    host: HostName,
    only: Annotated[str, typer.Option(help="Only what has this in its command line, e.g. `wgfleet.agent`.")] = "",
    name: Name = DEFAULT_NAME,
) -> None:
    """Kill all processes of a host with SIGKILL, as a power cut would."""
    with _reported():
        target = state.load(name).host(host)
        killed = len(target.signal(signal.SIGKILL, only)) if only else fleet.power_off(target)
        if only and not killed:
            raise LabError(
                f"{host} runs nothing with {only!r} in its command line; see: wgfleet lab exec {host} -- ps ax"
            )
    typer.echo(f"killed {killed} processes of {host}", err=True)


@app.command()
def start(host: HostName, name: Name = DEFAULT_NAME) -> None:
    """Start the panel or a node's agent again, after it was killed."""
    with _reported():
        lab = state.load(name)
        fleet.start_again(lab.host(host), lab)


@app.command()
def run(
    scenario: Annotated[
        str, typer.Argument(help="; ".join(f"{key}: {value.text}" for key, value in SCENARIOS.items()))
    ],
    nodes: Nodes = 3,
    clients: Clients = 20,
    rate: Annotated[float, typer.Option(min=0.1, max=500, help="Packets/s of each client.")] = 100.0,
    rounds: Annotated[int, typer.Option(min=1, help="Repeat in the same lab.")] = 1,
    peers: Annotated[int, typer.Option(min=1, help="Peers to add (provision).")] = 1000,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long (soak, steady, strangers).")] = 15.0,
    strangers: Annotated[int, typer.Option(min=1, max=20_000, help="Idle connections at each door (strangers).")] = 100,
    name: Name = DEFAULT_NAME,
    *,
    kill_processes: KillProcesses = False,
    takeover: Takeover = True,
    kind: Kinds = None,
    away: Away = 20.0,
    loss: Percent = 0.0,
    delay: Delay = 0.0,
    jitter: Jitter = 0.0,
    starve: Starve = 0.0,
    pause_panel: PausePanel = 0.0,
    nat: Annotated[bool, typer.Option("--nat", help="Put the clients behind NAT.")] = False,
    floating: Annotated[
        bool, typer.Option("--floating", help="Give the config floating addresses, and the clients' files their name.")
    ] = False,
    addresses: Annotated[int, typer.Option(min=0, help="How many floating addresses; 0: one for each node.")] = 0,
    provider: AddressProviders = face.ON_LINK,
    mobile: Annotated[bool, typer.Option("--mobile", help="Clients never learn endpoints, like phone apps.")] = False,
    helper: Annotated[
        bool,
        typer.Option("--helper", help="Have the clients run the helper of their bundle; their files name all nodes."),
    ] = False,
    logs: Logs = None,
    as_json: Json = False,
) -> None:
    """Run a scenario in its own lab. Exit code 3: a promise was not kept."""
    with _reported(left=NOTHING_LEFT):
        weather = Weather(loss, delay, jitter, starve)
        chosen = _chosen(scenario, nodes, clients, weather, kind)
        _check_helper(helper=helper, mobile=mobile, floating=floating)
        routed = _is_routed(provider, scenario, floating=floating)
        progress = Progress()
        equipment = Equipment(
            floating=(addresses or min(nodes, len(face.ADDRESSES[provider]))) if floating or chosen.floating else 0,
            provider=provider,
            mobile=mobile,
            helper=helper,
            name=chosen.name,
        )
        options = ScenarioOptions(
            rate,
            rounds,
            peers,
            minutes,
            kill_processes,
            takeover,
            strangers,
            equipment,
            kind,
            away,
            weather,
            pause_panel,
        )
        with state.temporary(name, nodes, clients if chosen.clients else 0, nat=nat, split=routed, logs=logs) as lab:
            assembly.assemble(lab, progress, equipment)
            figures = chosen.run(lab, options, progress)
    _tell(figures, as_json=as_json)


def _tell(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print(figures)
    else:
        for line in readable(figures):
            typer.echo(line)
    if not figures["ok"]:
        raise typer.Exit(NOT_AS_PROMISED)


def _chosen(name: str, nodes: int, clients: int, weather: Weather, kind: Kind | None) -> Scenario:
    """Return the scenario of that name, if it can run so."""
    chosen = SCENARIOS.get(name)
    if chosen is None:
        raise LabError(f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    if nodes < chosen.nodes:
        raise LabError(f"scenario {name} needs {chosen.nodes} nodes or more, not {nodes}")
    if chosen.clients and not clients:
        raise LabError(f"scenario {name} counts what clients notice, so it needs one or more")
    if kind is not None and name != "return":
        raise LabError(f"--kind is for the scenario return, not {name}; leave it out")
    if weather != CALM and not chosen.weather:
        fitting = ", ".join(key for key, value in SCENARIOS.items() if value.weather)
        raise LabError(f"bad weather is for the scenarios {fitting}, not {name}; leave its options out")
    return chosen


def _check_helper(*, helper: bool, mobile: bool, floating: bool) -> None:
    if helper and (mobile or floating):
        raise LabError("--helper is for Linux clients without floating addresses; leave --mobile and --floating out")


def _is_routed(provider: str, scenario: str, *, floating: bool) -> bool:
    """Check a provider of floating addresses; tell whether routers lead them to nodes."""
    if provider not in face.ADDRESSES:
        raise LabError(f"there is no --provider {provider!r} in the lab; there are {', '.join(face.ADDRESSES)}")
    if provider == face.ON_LINK:
        return False
    if not floating or scenario not in ROUTED_SCENARIOS:
        raise LabError(f"--provider {provider} goes with --floating and one of {', '.join(ROUTED_SCENARIOS)}")
    bird.check_machine()
    return True


@app.command()
def demo(
    name: Name = "demo",
    clients: Annotated[int, typer.Option(min=1, max=50, help="Devices with a stock WireGuard.")] = 6,
    logs: Logs = None,
) -> None:
    """Show the main job: one stock file per user that survives the removal of its node."""
    with _reported(left=NOTHING_LEFT), state.temporary(name, demonstration.NODES, clients, logs=logs) as lab:
        kept = demonstration.run(lab, Progress(), Console(highlight=False, soft_wrap=True))
    if not kept:
        raise typer.Exit(NOT_AS_PROMISED)

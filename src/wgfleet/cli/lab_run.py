"""`wgfleet lab run`: a scenario in its own lab, with all its options."""

from typing import Annotated, Any

import typer

from wgfleet.cli.lab_command import (
    DEFAULT_NAME,
    NOT_AS_PROMISED,
    NOTHING_LEFT,
    Clients,
    Json,
    Logs,
    Name,
    reported,
    show_document,
)
from wgfleet.lab import assembly, face, routing, state
from wgfleet.lab.assembly import Equipment
from wgfleet.lab.errors import LabError
from wgfleet.lab.progress import Progress, readable
from wgfleet.lab.scenarios import SCENARIOS, Scenario
from wgfleet.lab.scenarios.options import Kind, ScenarioOptions
from wgfleet.lab.weather import CALM, Weather
from wgfleet.protocol.quotes import quoted

NODES = 3
ROUTED_SCENARIOS = ("failover", "drain", "agent-down", "soak")
ScenarioName = Annotated[
    str, typer.Argument(help="; ".join(f"{key}: {value.text}" for key, value in SCENARIOS.items()))
]
SomeNodes = Annotated[
    int | None,
    typer.Option(min=0, help=f"Servers with an agent: {NODES} if not given; with witness, two in all."),
]
Rate = Annotated[float, typer.Option(min=0.1, max=500, help="Packets/s of each client.")]
Rounds = Annotated[int, typer.Option(min=1, help="Repeat in the same lab.")]
Peers = Annotated[int, typer.Option(min=1, help="Peers to add (provision).")]
Minutes = Annotated[float, typer.Option(min=0.1, help="How long (soak, steady, strangers).")]
StrangerCount = Annotated[int, typer.Option(min=1, max=20_000, help="Idle connections at each door (strangers).")]
KillProcesses = Annotated[
    bool,
    typer.Option(
        "--kill", help="Kill everything on the node, instead of cutting its cable (failover) or draining it (rolling)."
    ),
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
Nat = Annotated[bool, typer.Option("--nat", help="Put the clients behind NAT.")]
Floating = Annotated[
    bool, typer.Option("--floating", help="Give the config floating addresses, and the clients' files their name.")
]
Addresses = Annotated[int, typer.Option(min=0, help="How many floating addresses; 0: one for each node.")]
Provider = Annotated[
    str, typer.Option("--provider", help=f"What brings floating addresses to nodes: {', '.join(face.ADDRESSES)}.")
]
Daemon = Annotated[
    str, typer.Option(help=f"What announces them in nodes (--provider {face.ROUTED}): {', '.join(routing.DAEMONS)}.")
]
Ipv6 = Annotated[
    bool,
    typer.Option("--ipv6", help=f"Floating addresses, and so the tunnels, are of IPv6 (--provider {face.ROUTED})."),
]
Mobile = Annotated[bool, typer.Option("--mobile", help="Clients never learn endpoints, like phone apps.")]
Helper = Annotated[
    bool, typer.Option("--helper", help="Have the clients run the helper of their bundle; their files name all nodes.")
]
Relay = Annotated[
    bool, typer.Option("--relay", help="Have removed nodes relay clients that nobody else can call (drain).")
]
WithBackbone = Annotated[bool, typer.Option("--backbone", help="Have the config's nodes linked by a backbone (tcp).")]

WithWitness = Annotated[bool, typer.Option("--witness", help="Add a witness, which looks at nodes and serves nobody.")]
PanelNode = Annotated[bool, typer.Option("--panel-node", help="The panel's machine is a node too, beside the --nodes.")]


def run(
    scenario: ScenarioName,
    nodes: SomeNodes = None,
    clients: Clients = 20,
    rate: Rate = 100.0,
    rounds: Rounds = 1,
    peers: Peers = 1000,
    minutes: Minutes = 15.0,
    strangers: StrangerCount = 100,
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
    nat: Nat = False,
    floating: Floating = False,
    addresses: Addresses = 0,
    provider: Provider = face.ON_LINK,
    daemon: Daemon = routing.DEFAULT,
    ipv6: Ipv6 = False,
    mobile: Mobile = False,
    helper: Helper = False,
    witness: WithWitness = False,
    panel_node: PanelNode = False,
    relay: Relay = False,
    backbone: WithBackbone = False,
    logs: Logs = None,
    as_json: Json = False,
) -> None:
    """Run a scenario in its own lab. Exit code 3: a promise was not kept."""
    with reported(left=NOTHING_LEFT):
        weather = Weather(loss, delay, jitter, starve)
        only = {"return": ("--kind", kind is not None), "drain": ("--relay", relay), "tcp": ("--backbone", backbone)}
        if nodes is None:
            nodes = _usual_nodes(scenario, panel_node=panel_node)
        chosen = _chosen(scenario, nodes + panel_node, clients, weather, only)
        _check_helper(helper=helper, mobile=mobile, floating=floating)
        routed = _is_routed(provider, scenario, daemon, floating=floating, ipv6=ipv6)
        count = (addresses or min(nodes, len(face.ADDRESSES[provider]))) if floating or chosen.floating else 0
        equipment = Equipment(chosen.name, count, provider, daemon, ipv6=ipv6, mobile=mobile, helper=helper)
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
            relay,
            backbone,
        )
        own = {"witness": witness or chosen.witness, "panel_node": panel_node}
        with state.temporary(name, nodes, clients * chosen.clients, nat=nat, split=routed, logs=logs, **own) as lab:
            assembly.assemble(lab, progress := Progress(), equipment)
            figures = chosen.run(lab, options, progress)
    _tell(figures, as_json=as_json)


def _tell(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_document(figures)
    else:
        for line in readable(figures):
            typer.echo(line)
    if not figures["ok"]:
        raise typer.Exit(NOT_AS_PROMISED)


def _usual_nodes(scenario: str, *, panel_node: bool) -> int:
    chosen = SCENARIOS.get(scenario)
    return chosen.nodes - panel_node if chosen is not None and chosen.witness else NODES


def _chosen(name: str, nodes: int, clients: int, weather: Weather, only: dict[str, tuple[str, bool]]) -> Scenario:
    """Return the scenario of that name, if it can run so. `only`: an option of one, and whether it is given."""
    chosen = SCENARIOS.get(name)
    if chosen is None:
        raise LabError(f"there is no scenario {quoted(name)}; there are {', '.join(SCENARIOS)}")
    if nodes < chosen.nodes:
        raise LabError(f"scenario {name} needs {chosen.nodes} nodes or more, not {nodes}")
    if chosen.witness and nodes > chosen.nodes:
        raise LabError(f"scenario {name} is about two nodes in all: give --nodes 2, or --nodes 1 --panel-node")
    if chosen.clients and not clients:
        raise LabError(f"scenario {name} counts what clients notice, so it needs one or more")
    for scenario, (option, given) in only.items():
        if given and name != scenario:
            raise LabError(f"{option} is for the scenario {scenario}, not {name}; leave it out")
    if weather != CALM and not chosen.weather:
        fitting = ", ".join(key for key, value in SCENARIOS.items() if value.weather)
        raise LabError(f"bad weather is for the scenarios {fitting}, not {name}; leave its options out")
    return chosen


def _check_helper(*, helper: bool, mobile: bool, floating: bool) -> None:
    if helper and (mobile or floating):
        raise LabError("--helper is for Linux clients without floating addresses; leave --mobile and --floating out")


def _is_routed(provider: str, scenario: str, daemon: str, *, floating: bool, ipv6: bool) -> bool:
    """Check a provider of floating addresses; tell whether routers lead them to nodes."""
    if provider not in face.ADDRESSES:
        raise LabError(f"there is no --provider {quoted(provider)} in the lab; there are {', '.join(face.ADDRESSES)}")
    if provider == face.ON_LINK:
        if ipv6 or daemon != routing.DEFAULT:
            raise LabError(f"--ipv6 and --daemon go with --provider {face.ROUTED}; leave them out")
        return False
    if not floating or scenario not in ROUTED_SCENARIOS:
        raise LabError(f"--provider {provider} goes with --floating and one of {', '.join(ROUTED_SCENARIOS)}")
    routing.check_machine(daemon)
    return True

"""Scenarios that measure a promise on a lab of their own: `wgfleet lab run NAME`.

Each module has `run(lab, options, progress)` which returns an object of figures with `ok` in it, and a docstring that
says what is counted. A new scenario is a module and a line here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import (
    agent_down,
    comeback,
    crash,
    drain,
    failover,
    firewalls,
    flap,
    holder,
    kill,
    mesh,
    panel_down,
    partition,
    provision,
    publishing,
    rolling,
    soak,
    steady,
    strangers,
    tcp,
    witness,
)
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario; `clients` tells whether it needs stock clients, `floating` whether always floating addresses.

    `name`: whether it needs the endpoint's name published. `nodes`: how many it needs at least. `weather`: whether it
    runs in bad weather too. `witness`: whether it is about two nodes in all, and a witness.
    """

    run: Callable[[Lab, ScenarioOptions, Progress], dict[str, Any]]
    text: str
    clients: bool
    floating: bool = False
    name: bool = False
    nodes: int = 2
    weather: bool = False
    witness: bool = False


SCENARIOS = {
    "agent-down": Scenario(agent_down.run, "Kill an agent whose WireGuard serves; nobody moves.", clients=True),
    "crash": Scenario(crash.run, "End WireGuard on a node that lives; its clients are called back.", clients=True),
    "dns": Scenario(
        publishing.run, "Cut nodes off and ask for the endpoint's name all the time.", clients=True, name=True
    ),
    "drain": Scenario(drain.run, "Remove a node under live clients and count what they lose.", clients=True),
    "failover": Scenario(
        failover.run, "Cut a node off under live clients and time their silence.", clients=True, weather=True
    ),
    "firewalls": Scenario(
        firewalls.run, "Put docker, ufw, firewalld and others in users' way; each is found and named.", clients=False
    ),
    "flap": Scenario(flap.run, "Pull a cable again and again; the clients do not go to and fro.", clients=True),
    "holder": Scenario(
        holder.run, "Break who holds a floating address; never do two.", clients=True, floating=True, nodes=3
    ),
    "kill": Scenario(kill.run, "Kill the panel in the middle of removals; all end, nobody is lost.", clients=True),
    "mesh": Scenario(
        mesh.run, "Clients of different nodes ping each other and a site while a node goes.", clients=True, nodes=3
    ),
    "panel-down": Scenario(
        panel_down.run,
        "Kill a process of the panel while a node dies; nothing is lost, all clients move.",
        clients=True,
        nodes=3,
    ),
    "partition": Scenario(
        partition.run, "Cut the network in parts; the panel alone moves nobody.", clients=True, nodes=3
    ),
    "provision": Scenario(provision.run, "Add peers and time until all nodes have them.", clients=False, nodes=1),
    "return": Scenario(comeback.run, "A dead node comes back; it is fenced and pulls nobody back.", clients=True),
    "rolling": Scenario(rolling.run, "Restart every node and ask for the endpoint's name.", clients=True, name=True),
    "soak": Scenario(
        soak.run, "Break things at random and check what must hold.", clients=True, floating=True, nodes=3
    ),
    "steady": Scenario(
        steady.run, "Nobody dies, in whatever weather; nobody is taken out of use.", clients=True, weather=True
    ),
    "strangers": Scenario(
        strangers.run, "Idle connections at every door while nodes die; nobody notices them.", clients=True, nodes=3
    ),
    "tcp": Scenario(tcp.run, "Remove and kill nodes under TCP connections; none hangs.", clients=True),
    "witness": Scenario(
        witness.run, "Two nodes and a witness; one of them dies, and once more without.", clients=True, witness=True
    ),
}
